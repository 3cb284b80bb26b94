"""Conformal prediction: sets of classes, intervals of numbers."""
