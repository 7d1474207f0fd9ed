"""From recipe to pixels: the only door to albumentations."""
