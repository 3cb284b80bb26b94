-- Fingerprint a folder of audio in SQL, as the index does for songs.
SELECT path, count(hash) AS n_hashes, first(error) AS error
FROM binaryFile.`/clips`, LATERAL fingerprint_audio(content) GROUP BY path ORDER BY path;
