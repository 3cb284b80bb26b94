"""Descriptors of songs, computed from audio or imported from tables."""
