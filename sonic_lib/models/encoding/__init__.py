"""Leak-free encodings of categories and texts."""
