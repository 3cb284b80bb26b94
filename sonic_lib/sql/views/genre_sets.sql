CREATE OR REPLACE VIEW sonic.genre_sets (
  source COMMENT 'As in features',
  song_id COMMENT 'As in features',
  title COMMENT 'Of the song',
  artist COMMENT 'Of the song',
  known_genre COMMENT 'From the tags or the table, if given',
  genre COMMENT 'The most likely genre',
  genre_probability COMMENT 'Its probability by the model',
  genre_set COMMENT 'Contains the true genre with the stated confidence; most likely first',
  n_genres COMMENT 'Genres in the set: 1 is a clear answer',
  confidence COMMENT 'Target coverage of the sets',
  model_version COMMENT 'Version of the champion that predicted it'
) COMMENT 'The prediction set of genres for each song, by the champion, with names.'
AS SELECT
  p.source, p.song_id,
  try_element_at(f.texts, 'title') AS title, try_element_at(f.texts, 'artist') AS artist,
  try_element_at(f.texts, 'genre') AS known_genre, p.genre, p.genre_probability,
  p.genre_set, size(p.genre_set) AS n_genres, p.confidence, p.model_version
FROM sonic.predictions AS p
LEFT JOIN sonic.features AS f ON f.source = p.source AND f.song_id = p.song_id
WHERE p.model = 'genre'
