-- Fingerprint a folder of audio in SQL, as songs are in the table.
SELECT path, count(hash) AS n_hashes, first(error) AS error
FROM binaryFile.`/clips`, LATERAL fingerprint_audio(content) GROUP BY path ORDER BY path;
