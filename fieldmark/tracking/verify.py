"""Are results, sources and decisions still what was written down? Everything is hashed again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from fieldmark.core.params import Params
from fieldmark.core.store import read_json, read_table
from fieldmark.tracking import dvclock, ledger


def outputs(root: Path, params: Params) -> Iterator[str]:
    """Yield each output that ``dvc.lock`` knows and the folder does not hold in that form.

    The lock also keeps what models and seeds made that ``params.yaml`` has no more: these are nobody's results.
    """
    known = {"", *map(str, params.seeds), *(f"{model}-{seed}" for model in params.models for seed in params.seeds)}
    entries = [entry for name, entry in dvclock.read(root).items() if name.partition("@")[2] in known]
    hashes = {out["path"]: out.get("md5") for entry in entries for out in entry.get("outs", [])}
    for path, md5 in tqdm(hashes.items(), desc="outputs", leave=False):
        if not (root / path).exists():
            yield f"{path} is missing: run dvc checkout {path}, or dvc repro"
        elif dvclock.content_hash(root / path) != md5:
            yield f"{_differing(root, path, str(md5))} is not what dvc.lock says: run dvc checkout {path}, or dvc repro"


def sources(index: Path) -> Iterator[str]:
    """Yield each source image whose bytes are not those of its sha256."""
    if not index.exists():
        yield f"{index} is missing: run dvc checkout, or dvc repro pull"
        return
    try:
        table = read_table(index)
    except (OSError, ValueError) as error:
        yield f"{index} can't be read ({error}): run dvc checkout, or dvc repro pull"
        return
    columns = (table[name].tolist() for name in ("source_id", "shard", "offset", "bytes", "sha256"))
    for source, name, offset, count, digest in tqdm(list(zip(*columns, strict=True)), desc="sources", leave=False):
        shard = index.parent / name
        if not shard.exists() or _digest(shard, offset, count) != digest:
            yield f"source '{source}' in {shard} is not what the index says: run dvc checkout, or dvc repro pull"


def decisions(path: Path, model: str, champion: str | None) -> Iterator[str]:
    """Yield each break in the ledger's chain; of a whole one, what it says against the champion's version."""
    for problem in ledger.verify(path) or ledger.astray(ledger.read(path), model, champion):
        yield f"{path}: {problem}"


def _digest(shard: Path, offset: int, count: int) -> str:
    with shard.open("rb") as stream:
        stream.seek(offset)
        return hashlib.sha256(stream.read(count)).hexdigest()


def _differing(root: Path, path: str, md5: str) -> str:
    """Name the files of a folder that differ, from the listing in DVC's cache; the folder where there is none."""
    listing = root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    if not (md5.endswith(".dir") and listing.exists()):
        return path
    promised = {row["relpath"]: row["md5"] for row in read_json(listing)}
    found = dvclock.files(root / path)
    return ", ".join(f"{path}/{name}" for name in sorted(promised | found) if promised.get(name) != found.get(name))
