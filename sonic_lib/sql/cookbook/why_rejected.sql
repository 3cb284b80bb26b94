-- Why files could not be indexed, the most frequent reason first.
SELECT stage, reason, n_files, example_path FROM sonic.rejects ORDER BY n_files DESC, reason;
