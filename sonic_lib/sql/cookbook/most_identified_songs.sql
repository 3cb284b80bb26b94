-- Songs by how many clips they were found in: an airplay list.
SELECT title, artist, count(DISTINCT clip_path) AS n_clips,
  round(sum(clip_end_s - clip_start_s), 1) AS seconds
FROM sonic.latest_matches WHERE accepted GROUP BY song_id, title, artist
ORDER BY n_clips DESC, seconds DESC LIMIT 20;
