-- Songs without artist, album, genre or year in their tags.
SELECT song_id, title, first_path, artist IS NULL AS no_artist, album IS NULL AS no_album,
  genre IS NULL AS no_genre, release_year IS NULL AS no_year
FROM sonic.catalogue
WHERE artist IS NULL OR album IS NULL OR genre IS NULL OR release_year IS NULL;
