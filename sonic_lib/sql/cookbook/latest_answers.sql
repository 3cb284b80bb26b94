-- The latest answer for every clip.
SELECT clip_path, clip_start_s, title, artist, offset_s, p_value
FROM sonic.latest_matches WHERE rank = 1 AND accepted ORDER BY clip_path, clip_start_s;
