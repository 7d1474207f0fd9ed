"""Where images come from: one dataset a file, each with ``pull`` and ``index``."""
