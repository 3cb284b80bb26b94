-- Clips without an accepted answer, the most promising first.
SELECT clip_path, title AS best_candidate, p_value FROM sonic.latest_matches
WHERE rank = 1 AND error IS NULL
  AND clip_path NOT IN (SELECT clip_path FROM sonic.latest_matches WHERE accepted)
ORDER BY p_value;
