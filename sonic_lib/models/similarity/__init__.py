"""Songs like a song: exact and clustered neighbours, recommendations."""
