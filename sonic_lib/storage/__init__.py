"""Delta tables, their history, locks and runs."""
