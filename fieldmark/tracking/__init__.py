"""The only door to MLflow: runs, lineage, registry and gate."""
