"""Masked models and mask controls: one a file."""
