"""What changes when the background does: one test a file."""
