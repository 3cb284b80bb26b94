-- Mean tempo of the songs by genre, from the descriptors.
SELECT try_element_at(texts, 'genre') AS genre, count(*) AS n_songs,
  avg(try_element_at(numbers, 'tempo')) AS mean_tempo
FROM sonic.features GROUP BY 1 ORDER BY n_songs DESC, genre;
