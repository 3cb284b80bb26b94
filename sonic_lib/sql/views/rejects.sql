CREATE OR REPLACE VIEW sonic.rejects (
  stage COMMENT 'Where files were rejected: open, decode or content',
  reason COMMENT 'Why, with numbers written as #',
  n_files COMMENT 'How many files',
  bytes COMMENT 'Their total size in bytes',
  example_path COMMENT 'One of them',
  last_seen_at COMMENT 'When one was last read (UTC)'
) COMMENT 'Files of songs that could not be indexed, by reason.'
AS SELECT
  stage, regexp_replace(error, '[0-9]+([.][0-9]+)?', '#') AS reason, count(*) AS n_files,
  sum(size_bytes) AS bytes, min(path) AS example_path, max(seen_at) AS last_seen_at
FROM sonic.song_files WHERE status = 'rejected'
GROUP BY stage, regexp_replace(error, '[0-9]+([.][0-9]+)?', '#')
