"""Descriptors of songs: from audio, and from tables that others made."""
