-- What came into the index on which day.
SELECT date(indexed_at) AS day, count(*) AS n_songs, round(sum(duration_s) / 3600, 2) AS hours
FROM sonic.songs GROUP BY day ORDER BY day DESC;
