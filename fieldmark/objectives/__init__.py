"""Losses over a batch: one a file, each a pure function."""
