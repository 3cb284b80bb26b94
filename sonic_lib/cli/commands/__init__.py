"""One module a command: its arguments, and the job itself."""
