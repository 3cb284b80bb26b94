"""Genre, popularity and similarity models."""
