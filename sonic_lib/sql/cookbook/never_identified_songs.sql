-- Songs that no clip was ever found to hold.
SELECT song_id, title, artist FROM sonic.songs
WHERE song_id NOT IN (SELECT song_id FROM sonic.matches WHERE accepted) ORDER BY title;
