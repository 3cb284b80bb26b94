"""Models of a table that fits into one task: pure numpy, except for `stage`."""
