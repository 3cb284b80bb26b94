"""Models of music: what it is, how popular, and what is like it."""
