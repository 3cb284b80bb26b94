"""A seeded synthesiser of songs, for the demo and for tests."""
