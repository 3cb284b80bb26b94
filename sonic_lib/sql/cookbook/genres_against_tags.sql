-- Songs whose tag names a genre that the model rules out: wrong tags, or a wrong model.
SELECT title, artist, known_genre, array_join(genre_set, ', ') AS genres FROM sonic.genre_sets
WHERE known_genre IS NOT NULL AND NOT array_contains(genre_set, known_genre);
