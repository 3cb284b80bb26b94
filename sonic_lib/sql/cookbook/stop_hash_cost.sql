-- Share of the table taken by hashes in many songs: what omitting them would save.
SELECT count(*) AS n_hashes, coalesce(sum(n_rows), 0) AS n_rows,
  coalesce(sum(n_rows), 0) / (SELECT sum(n_fingerprints) FROM sonic.songs) AS share_of_table
FROM sonic.stop_hashes;
