"""Landmark fingerprints: samples -> spectrogram -> landmarks -> (hash, frame)."""
