-- Identification in one query: weighted votes for song and offset.
CREATE OR REPLACE TEMPORARY VIEW clip_fingerprints AS
SELECT path, hashes.* FROM binaryFile.`/clips`, LATERAL fingerprint_clip(content) AS hashes;

WITH entries AS (
  SELECT f.hash_prefix, f.hash, f.song_id, f.offset_frames,
    count(*) OVER (PARTITION BY f.hash_prefix, f.hash) AS n_rows
  FROM sonic.fingerprints AS f
  LEFT SEMI JOIN clip_fingerprints USING (hash_prefix, hash)
  LEFT SEMI JOIN sonic.songs USING (song_id)
), lines AS (
  SELECT c.path, e.song_id, e.offset_frames - c.frame AS shift_frames, count(*) AS n_votes,
    sum(ln((SELECT sum(duration_s) / 0.032 FROM sonic.songs) / e.n_rows)) AS evidence_nats
  FROM entries AS e JOIN clip_fingerprints AS c USING (hash_prefix, hash)
  GROUP BY ALL
)
SELECT path, title, artist, offset_s, n_votes, evidence_nats
FROM (
  SELECT path, song_id, round(0.032 * shift_frames, 1) AS offset_s, n_votes, evidence_nats,
    row_number() OVER (PARTITION BY path ORDER BY evidence_nats DESC) AS rank
  FROM lines
) JOIN sonic.songs USING (song_id)
WHERE rank = 1 ORDER BY path;
