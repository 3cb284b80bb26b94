"""Index songs: plan what to read, commit it safely, check the result."""
