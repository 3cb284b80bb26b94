-- Pairs of songs that share rare hashes at one offset: copies, remixes, samples.
WITH rare AS (
  SELECT hash_prefix, hash FROM sonic.hash_frequency WHERE n_songs BETWEEN 2 AND 5
), rows AS (SELECT f.* FROM sonic.fingerprints AS f JOIN rare USING (hash_prefix, hash))
SELECT a.song_id, b.song_id AS other_song_id,
  a.offset_frames - b.offset_frames AS shift_frames, count(*) AS n_votes
FROM rows AS a JOIN rows AS b
  ON a.hash_prefix = b.hash_prefix AND a.hash = b.hash AND a.song_id < b.song_id
GROUP BY ALL HAVING n_votes >= 5 ORDER BY n_votes DESC LIMIT 20;
