CREATE OR REPLACE VIEW sonic.catalogue (
  song_id COMMENT 'As in songs',
  title COMMENT 'From the tags, else the file''s name',
  artist COMMENT 'From the tags',
  album COMMENT 'From the tags',
  genre COMMENT 'From the tags',
  release_year COMMENT 'From the tags',
  duration_s COMMENT 'Length in seconds',
  n_fingerprints COMMENT 'Rows in fingerprints',
  fingerprints_per_s COMMENT 'Density: n_fingerprints over duration_s (1/s)',
  n_files COMMENT 'Paths that hold this recording',
  first_path COMMENT 'The one that was indexed; the first by name if there are several',
  indexed_at COMMENT 'When it was indexed (UTC)'
) COMMENT 'One row per song: what the index knows about it, and how densely it is fingerprinted.'
AS SELECT
  song_id, title, artist, album, genre, release_year, duration_s, n_fingerprints,
  n_fingerprints / nullif(duration_s, 0) AS fingerprints_per_s,
  coalesce(n_files, 0) AS n_files, first_path, indexed_at
FROM sonic.songs
LEFT JOIN (
  SELECT song_id, count(*) AS n_files,
    min_by(path, struct(status <> 'indexed', path)) AS first_path
  FROM sonic.song_files WHERE song_id IS NOT NULL GROUP BY song_id
) USING (song_id)
