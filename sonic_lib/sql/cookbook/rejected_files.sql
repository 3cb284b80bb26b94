-- Every rejected file with its reason, newest first.
SELECT path, stage, error, seen_at FROM sonic.song_files
WHERE status = 'rejected' ORDER BY seen_at DESC, path;
