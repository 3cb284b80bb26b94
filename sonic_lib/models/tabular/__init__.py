"""Models of tables that fit into one task: pure numpy, except for `stage`."""
