-- Songs whose tagged genre is not in the prediction set: wrong tags, or a wrong model.
SELECT title, artist, known_genre, array_join(genre_set, ', ') AS genres FROM sonic.genre_sets
WHERE known_genre IS NOT NULL AND NOT array_contains(genre_set, known_genre);
