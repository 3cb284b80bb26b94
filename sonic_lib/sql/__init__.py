"""Functions, views and scripts for SQL users."""
