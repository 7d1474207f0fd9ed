"""Where the model looked: one measure a file."""
