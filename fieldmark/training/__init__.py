"""Fitting a model on features or on pixels."""
