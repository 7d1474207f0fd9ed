"""The only door to Prefect: the graph of dvc.yaml as scheduled flows."""
