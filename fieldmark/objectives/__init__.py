"""What training minimises: one a file; some also say what an epoch shows, or what comes after it."""
