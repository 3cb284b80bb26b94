-- Songs with large prediction sets of genres.
SELECT title, artist, genre, genre_probability, array_join(genre_set, ', ') AS genres
FROM sonic.genre_sets WHERE n_genres > 1 ORDER BY n_genres DESC, genre_probability LIMIT 20;
