-- Songs and hours added to the index by day.
SELECT date(indexed_at) AS day, count(*) AS n_songs, round(sum(duration_s) / 3600, 2) AS hours
FROM sonic.songs GROUP BY day ORDER BY day DESC;
