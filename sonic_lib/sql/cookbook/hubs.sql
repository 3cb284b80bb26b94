-- Songs that are recommended most often: large hubs mean uninformative features.
SELECT recommended_title, count(*) AS n_lists FROM sonic.playlists
GROUP BY recommended_song_id, recommended_title ORDER BY n_lists DESC, recommended_title LIMIT 20;
