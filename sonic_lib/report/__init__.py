"""Reports for people: pages, plots and tables."""
