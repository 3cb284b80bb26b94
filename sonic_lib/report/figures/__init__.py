"""Plots of the report and of the commands."""
