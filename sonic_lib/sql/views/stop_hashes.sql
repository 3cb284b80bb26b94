CREATE OR REPLACE VIEW sonic.stop_hashes (
  hash_prefix COMMENT 'The first bits of hash',
  hash COMMENT '40-bit hash of a triangle of three landmarks',
  n_rows COMMENT 'How often it occurs in the index',
  n_songs COMMENT 'In how many songs',
  share_of_songs COMMENT 'n_songs over the songs of the index, 0 to 1'
) COMMENT 'Hashes in at least 5 % of the songs and in three or more: expensive and uninformative.'
AS SELECT
  hash_prefix, hash, n_rows, n_songs, n_songs / n_all AS share_of_songs
FROM (
  SELECT hash_prefix, hash, count(*) AS n_rows, count(DISTINCT song_id) AS n_songs
  FROM sonic.fingerprints GROUP BY hash_prefix, hash
) CROSS JOIN (SELECT count(*) AS n_all FROM sonic.songs)
WHERE n_songs >= greatest(3, 0.05 * n_all)
