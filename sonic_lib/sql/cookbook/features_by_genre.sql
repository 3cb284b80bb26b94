-- Mean tempo of the songs by genre, from audio descriptors or an imported table.
SELECT try_element_at(texts, 'genre') AS genre, count(*) AS n_songs,
  avg(coalesce(try_element_at(numbers, 'tempo_bpm'), try_element_at(numbers, 'tempo')))
    AS mean_tempo_bpm
FROM sonic.features GROUP BY 1 ORDER BY n_songs DESC, genre;
