-- Files that are byte-for-byte copies, and the space that deleting all but one would free.
SELECT song_id, collect_list(path) AS paths, sum(size_bytes) - max(size_bytes) AS spare_bytes
FROM sonic.song_files WHERE song_id IS NOT NULL
GROUP BY song_id HAVING count(*) > 1 ORDER BY spare_bytes DESC;
