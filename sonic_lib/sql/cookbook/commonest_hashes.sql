-- The commonest hashes, and what a hit with them says.
SELECT hash, n_rows, n_songs, weight_nats FROM sonic.hash_frequency
ORDER BY n_rows DESC, hash LIMIT 20;
