"""Similar songs: exact and clustered search, playlists."""
