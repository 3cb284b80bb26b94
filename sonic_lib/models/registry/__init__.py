"""Versions of models and their aliases, in a directory or in MLflow."""
