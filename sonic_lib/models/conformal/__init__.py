"""Conformal prediction: sets of classes and intervals of numbers."""
