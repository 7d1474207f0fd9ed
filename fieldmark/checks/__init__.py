"""The only door to Great Expectations: whether a table may pass."""
