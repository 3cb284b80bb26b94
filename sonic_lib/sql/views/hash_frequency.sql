CREATE OR REPLACE VIEW sonic.hash_frequency (
  hash_prefix COMMENT 'The first bits of hash',
  hash COMMENT '40-bit hash of a triangle of three landmarks',
  n_rows COMMENT 'How often it occurs in the index',
  n_songs COMMENT 'In how many songs',
  weight_nats COMMENT 'Evidence of one hit against chance: ln(frames of the index / n_rows)'
) COMMENT 'How common each hash is. Reads the whole table of fingerprints.'
AS SELECT
  hash_prefix, hash, count(*) AS n_rows, count(DISTINCT song_id) AS n_songs,
  -- A frame is 32 ms.
  ln((SELECT sum(duration_s) / 0.032 FROM sonic.songs) / count(*)) AS weight_nats
FROM sonic.fingerprints GROUP BY hash_prefix, hash
