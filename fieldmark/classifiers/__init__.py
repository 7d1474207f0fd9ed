"""Classifiers that somebody else trained: one kind of file or folder a file."""
