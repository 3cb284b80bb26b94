-- The ten songs most similar to one, by a part of its title.
SELECT place, recommended_title, recommended_artist, similarity FROM sonic.playlists
WHERE lower(title) LIKE '%a%' AND place <= 10 ORDER BY title, place;
