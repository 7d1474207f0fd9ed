"""The commands of dvc.yaml: read, call rooms, write. No science lives here."""
