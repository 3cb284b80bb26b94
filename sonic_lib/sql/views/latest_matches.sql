CREATE OR REPLACE VIEW sonic.latest_matches (
  clip_path COMMENT 'Full path or URI of the clip',
  clip_start_s COMMENT 'Start of the matched part of the clip (s)',
  clip_end_s COMMENT 'End of the matched part of the clip (s)',
  rank COMMENT '1 for the best candidate',
  song_id COMMENT 'The candidate; null if there is none',
  title COMMENT 'Its title',
  artist COMMENT 'Its artist',
  offset_s COMMENT 'Position in the song of the part''s first sample (s)',
  speed COMMENT 'Seconds of the song per second of the clip',
  pitch COMMENT 'Frequencies in the clip over those in the song',
  n_votes COMMENT 'Hashes that agree on this song and offset',
  score COMMENT 'Evidence beyond chance; comparable across clips',
  p_value COMMENT 'Probability that an unknown clip scores this high',
  accepted COMMENT 'Whether the candidate is accepted as the answer',
  error COMMENT 'Why the clip could not be read; else null',
  note COMMENT 'Parts of the clip that could not be used; else null',
  run_id COMMENT 'The latest run that identified the clip'
) COMMENT 'The rows of matches from the latest run of each clip, with names.'
AS SELECT
  m.clip_path, m.clip_start_s, m.clip_end_s, m.rank, m.song_id, s.title, s.artist, m.offset_s,
  m.speed, m.pitch, m.n_votes, m.score, m.p_value, m.accepted, m.error, m.note, m.run_id
FROM sonic.matches AS m
-- Run ids begin with the time, so the largest is the latest.
JOIN (SELECT clip_path, max(run_id) AS run_id FROM sonic.matches GROUP BY clip_path)
  USING (clip_path, run_id)
LEFT JOIN sonic.songs AS s ON s.song_id = m.song_id
