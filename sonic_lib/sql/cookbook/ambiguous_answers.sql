-- Answers to check by ear.
SELECT clip_path, title, p_value, accepted, n_rivals FROM sonic.ambiguous_matches
ORDER BY p_value DESC;
