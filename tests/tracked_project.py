"""A small project as `dvc repro` leaves it: committed code, a hand-written dvc.lock, an index, one trained cell."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from fieldmark import serve
from fieldmark.backbones import efficientnet_lite0
from fieldmark.core import store, tables
from fieldmark.models import erm
from fieldmark.tracking import dvclock, lineage, model, publish, registry, runs
from fieldmark.tracking.record import Dataset, Run
from fieldmark.tracking.store import connect
from fieldmark.training.checkpoint import write_weights
from fieldmark.training.fit import initialised

ROOT = Path(__file__).parent.parent
SIZE = 64
CELL = "train@erm-0"
HISTORY = [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}]
DATA = Dataset("shapes/0 train", "d" * 32 + ".dir", "data/split.csv", "train")
IMAGES = {"a": b"first image", "b": b"second"}


def git(root: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", "-C", str(root), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def make(root: Path, mlruns: Path | None = None) -> Path:
    """Fill ``root`` and return it; ``mlruns`` is what MLflow begins with."""
    (root / "code").mkdir(parents=True)
    if mlruns:
        shutil.copytree(mlruns, root / "mlruns")
    (root / "code" / "train.py").write_text("print()\n")
    (root / "requirements.lock").write_text("numpy==2\n")
    (root / ".gitignore").write_text("mlruns/\ndata/raw/\ndata/trained/\ndata/registered/\n")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["dataset"] = {"name": "shapes", "options": {}}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    _sources(root / "data" / "raw" / "shapes")
    classifier(root / "data" / "trained" / "erm-0")
    lock(root)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    return root


def lock(root: Path) -> None:
    """Write dvc.lock for what the folder holds now; `other` is a stage that the cell does not build on."""

    def item(path: str) -> dict[str, str]:
        return {"path": path, "hash": "md5", "md5": dvclock.content_hash(root / path)}

    stages = {
        "pull": {"cmd": "pull", "deps": [item("code/train.py")], "outs": [item("data/raw/shapes")]},
        "split@0": {"cmd": "split", "deps": [item("data/raw/shapes/index.parquet")], "outs": [item("data/split.csv")]},
        CELL: {
            "cmd": "train erm 0",
            "deps": [item("code/train.py"), item("data/split.csv")],
            "params": {"params.yaml": {"seeds": [0]}},
            "outs": [item("data/trained/erm-0")],
        },
        "other": {"cmd": "other", "deps": [item("data/split.csv")], "outs": [item("requirements.lock")]},
    }
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def index(root: Path) -> Path:
    """Return where the project keeps its table of source images."""
    return root / "data" / "raw" / "shapes" / "index.parquet"


def _sources(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "shard.tar").write_bytes(b"".join(IMAGES.values()))
    blank = dict.fromkeys(tables.INDEX, "") | dict.fromkeys(
        [name for name, kind in tables.INDEX.items() if kind == "int64"], 0
    )
    rows, offset = [], 0
    for source, content in IMAGES.items():
        place = {"shard": "shard.tar", "offset": offset, "bytes": len(content)}
        rows.append({**blank, **place, "source_id": source, "sha256": hashlib.sha256(content).hexdigest()})
        offset += len(content)
    store.write_table(folder / "index.parquet", tables.conform(pd.DataFrame(rows), tables.INDEX))
    (folder.parent.parent / "split.csv").write_text("example\n")


def classifier(folder: Path) -> Path:
    """Write a trained cell into ``folder`` and return it."""
    folder.mkdir(parents=True)
    backbone = efficientnet_lite0.load()
    write_weights(folder / "weights.safetensors", initialised(lambda: erm.build(backbone, 2), 0))
    facts = {"name": "efficientnet_lite0", "options": {}, "fingerprint": backbone.fingerprint}
    config = {"model": "erm", "options": {}, "classes": ["disc", "square"], "size": SIZE, "seed": 0, "backbone": facts}
    store.write_json(folder / "config.json", config)
    store.write_json(folder / "history.json", HISTORY)
    return folder


def register(root: Path, files: list[Path]) -> tuple[Run, registry.Version]:
    """Do for the one cell what the stage of this name does for all; ``files`` are its pictures."""
    folder = root / "data" / "trained" / "erm-0"
    fingerprint = lineage.cell_fingerprint(folder)
    statement = lineage.manifest(root, CELL, index=index(root))
    with connect(root) as opened:
        parent = runs.parent_run(opened, lineage.reproduction(root))
        publish.publish_sources(opened, parent, index(root))
        run = publish.publish_cell(
            opened, parent, statement, fingerprint=fingerprint, params={"model": "erm"}, history=HISTORY,
            datasets=[DATA], pictures=files,
        )  # fmt: skip
        packages = [*serve.PACKAGES, *serve.BACKBONE_PACKAGES["efficientnet_lite0"]]
        model_id = model.log(run, folder, pictures(1), fingerprint=fingerprint, loader=serve.LOADER, packages=packages)
        run.log_metrics({"test/worst_group": 0.75, "test/unknown": float("nan")}, model_id=model_id, dataset=DATA)
        version = registry.register(
            opened, "fieldmark", run_id=run.run_id, model_id=model_id, fingerprint=fingerprint,
            tags=lineage.tags(statement), description="erm",
        )  # fmt: skip
    return run, version


def pictures(count: int) -> np.ndarray:
    """Return images (count, 80, 100, 3) of noise."""
    return np.random.default_rng(0).integers(0, 256, (count, 80, 100, 3), np.uint8)
