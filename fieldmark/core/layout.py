"""Where each noun of the flow lives under ``data/``; ``dvc.yaml`` names the same places."""

from pathlib import Path

from fieldmark.core.params import Params


def raw(root: Path, params: Params) -> Path:
    """Folder of the originals and their index."""
    return root / "data" / "raw" / params.dataset.name


def index(root: Path, params: Params) -> Path:
    """Table of source images."""
    return raw(root, params) / "index.parquet"


def validated(root: Path, params: Params) -> Path:
    """Verdict on the index; its Data Docs lie in a folder of the same name beside it."""
    return root / "data" / "validated" / f"{params.dataset.name}.json"


def split(root: Path, params: Params, seed: int) -> Path:
    """Recipes of one seed."""
    return root / "data" / "splits" / params.dataset.name / f"{seed}.parquet"


def embedded(root: Path, params: Params, seed: int) -> Path:
    """Folder of one seed's feature maps."""
    return root / "data" / "embedded" / params.dataset.name / f"{params.backbone.name}-{seed}"


def wired(root: Path, model: str) -> Path:
    """What a word of ``models`` is made of: plugins, options, and the sha256 of their code."""
    return root / "data" / "wired" / f"{model}.json"


def trained(root: Path, model: str, seed: int) -> Path:
    """Folder of one cell's weights, config and history."""
    return root / "data" / "trained" / f"{model}-{seed}"


def evaluated(root: Path, model: str, seed: int) -> Path:
    """Scores of one cell (.json); observations (.parquet) and predictions (.predictions.parquet) lie beside it."""
    return root / "data" / "evaluated" / f"{model}-{seed}.json"


def explained(root: Path, model: str, seed: int) -> Path:
    """Mask measures of one cell (.json); observations (.parquet) and masks (.masks.npy) lie beside it."""
    return root / "data" / "explained" / f"{model}-{seed}.json"


def registered(root: Path) -> Path:
    """Receipt of the last registration, inside the store that it is a receipt of."""
    return root / "mlruns" / "receipt.json"


def ledger(root: Path) -> Path:
    """Every decision the gate ever took, one JSON object a line; appended to, never rewritten."""
    return root / "data" / "registered" / "ledger.jsonl"


def report(root: Path) -> Path:
    """Folder of the leaderboard, the page and the plots."""
    return root / "data" / "report"


def cache(root: Path) -> Path:
    """What can be thrown away: rendered pixels, checkpoints."""
    return root / ".cache"
