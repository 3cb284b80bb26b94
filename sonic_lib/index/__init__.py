"""The index over songs: what to read, what to write, in which order."""
