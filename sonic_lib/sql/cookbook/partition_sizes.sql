-- Rows in each partition of the fingerprints: they should be nearly equal.
SELECT hash_prefix, count(*) AS n_rows FROM sonic.fingerprints GROUP BY hash_prefix
ORDER BY hash_prefix;
