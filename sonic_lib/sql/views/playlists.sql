CREATE OR REPLACE VIEW sonic.playlists (
  source COMMENT 'As in features',
  song_id COMMENT 'The song that the list starts from',
  title COMMENT 'Its title',
  artist COMMENT 'Its artist',
  place COMMENT '1 for the most similar',
  recommended_song_id COMMENT 'A similar song',
  recommended_title COMMENT 'Its title',
  recommended_artist COMMENT 'Its artist',
  similarity COMMENT 'Cosine of their standardised features, -1 to 1'
) COMMENT 'The songs most similar to each song, with names.'
AS SELECT
  r.source, r.song_id,
  try_element_at(a.texts, 'title') AS title, try_element_at(a.texts, 'artist') AS artist,
  r.rank AS place, r.recommended_song_id,
  try_element_at(b.texts, 'title') AS recommended_title,
  try_element_at(b.texts, 'artist') AS recommended_artist, r.similarity
FROM sonic.recommendations AS r
LEFT JOIN sonic.features AS a ON a.source = r.source AND a.song_id = r.song_id
LEFT JOIN sonic.features AS b ON b.source = r.source AND b.song_id = r.recommended_song_id
