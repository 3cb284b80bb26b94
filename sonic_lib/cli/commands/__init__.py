"""One module per verb, and one for `sonic train recommendations`: arguments and output."""
