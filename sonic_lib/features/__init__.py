"""Descriptors of songs, from audio or from imported tables."""
