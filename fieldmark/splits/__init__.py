"""Recipes with spurious backgrounds: one way of splitting a file."""
