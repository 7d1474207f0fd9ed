"""The only door to Prefect: the graph of dvc.yaml as scheduled flows."""

import os
from pathlib import Path

import fieldmark  # noqa: F401  # silences telemetry before any file here imports Prefect

# Prefect reads its home only once too: the repository's, so that nobody's own profile or server is touched.
os.environ.setdefault("PREFECT_HOME", str(Path(__file__).parent.parent / ".prefect"))
