-- How large the index is: songs, files, hours, fingerprints.
SELECT count(*) AS n_songs, sum(n_files) AS n_files, round(sum(duration_s) / 3600, 2) AS hours,
  sum(n_fingerprints) AS n_fingerprints
FROM sonic.catalogue;
