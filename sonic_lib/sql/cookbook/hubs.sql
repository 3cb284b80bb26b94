-- Songs that are recommended most often: too often means that the features say little.
SELECT recommended_title, count(*) AS n_lists FROM sonic.playlists
GROUP BY recommended_song_id, recommended_title ORDER BY n_lists DESC, recommended_title LIMIT 20;
