-- The passages that clips are taken from most often, in steps of 10 s of the song.
SELECT title, CAST(10 * floor(offset_s / 10) AS INT) AS from_s, count(*) AS n_clips
FROM sonic.latest_matches WHERE accepted GROUP BY song_id, title, from_s
ORDER BY n_clips DESC, title, from_s;
