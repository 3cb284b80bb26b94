"""Models of a table that fits one task: arrays to arrays, without Spark but for `stage`."""
