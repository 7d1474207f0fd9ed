"""Feature extractors and where their weights come from: one a file."""
