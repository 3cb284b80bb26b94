"""Aggregates and projections of a feature table."""
