-- The most common hashes, and the weight of a hit with them.
SELECT hash, n_rows, n_songs, weight_nats FROM sonic.hash_frequency
ORDER BY n_rows DESC, hash LIMIT 20;
