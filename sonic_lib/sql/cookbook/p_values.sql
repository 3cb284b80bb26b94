-- Distribution of p-values: small ones are rare for clips of unknown songs.
SELECT CAST(floor(10 * p_value) AS INT) / 10 AS from_p, count(*) AS n_clips
FROM sonic.latest_matches WHERE rank = 1 AND error IS NULL GROUP BY from_p ORDER BY from_p;
