"""Pure functions from recipes to recipes: the backgrounds challenge, occluders, corruptions."""
