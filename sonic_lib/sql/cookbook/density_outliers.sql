-- Songs with unusually few or many fingerprints per second: quiet, spoken or very busy music.
SELECT title, artist, fingerprints_per_s
FROM (
  SELECT *, avg(fingerprints_per_s) OVER () AS mean,
    stddev_pop(fingerprints_per_s) OVER () AS spread
  FROM sonic.catalogue
)
WHERE abs(fingerprints_per_s - mean) > 1 * spread ORDER BY fingerprints_per_s;
