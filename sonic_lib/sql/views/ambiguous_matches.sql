CREATE OR REPLACE VIEW sonic.ambiguous_matches (
  clip_path COMMENT 'Full path or URI of the clip',
  clip_start_s COMMENT 'Start of the matched part of the clip (s)',
  clip_end_s COMMENT 'End of the matched part of the clip (s)',
  song_id COMMENT 'The best candidate',
  title COMMENT 'Its title',
  score COMMENT 'Its evidence beyond chance',
  p_value COMMENT 'Probability that an unknown clip scores this high',
  accepted COMMENT 'Whether it is accepted as the answer',
  n_rivals COMMENT 'Other songs listed with a score: copies, or songs that share a passage',
  run_id COMMENT 'The latest run that identified the clip'
) COMMENT 'Ambiguous answers: p between 0.0001 and 0.2, or other songs with a score.'
AS SELECT
  m.clip_path, m.clip_start_s, m.clip_end_s, m.song_id, s.title, m.score, m.p_value, m.accepted,
  m.n_rivals, m.run_id
FROM (
  SELECT *,
    count_if(rank > 1 AND score > 0) OVER (PARTITION BY run_id, clip_path, clip_start_s) AS n_rivals
  FROM sonic.matches
  JOIN (SELECT clip_path, max(run_id) AS run_id FROM sonic.matches GROUP BY clip_path)
    USING (clip_path, run_id)
) AS m
JOIN sonic.songs AS s ON s.song_id = m.song_id
WHERE m.rank = 1 AND (m.p_value BETWEEN 0.0001 AND 0.2 OR m.n_rivals > 0)
