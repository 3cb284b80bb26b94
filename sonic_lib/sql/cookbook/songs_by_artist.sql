-- Artists with the most songs in the index, and their hours of music.
SELECT artist, count(*) AS n_songs, round(sum(duration_s) / 3600, 2) AS hours
FROM sonic.catalogue GROUP BY artist ORDER BY n_songs DESC, artist LIMIT 20;
