-- Songs that were never identified in a clip.
SELECT song_id, title, artist FROM sonic.songs
WHERE song_id NOT IN (SELECT song_id FROM sonic.matches WHERE accepted) ORDER BY title;
