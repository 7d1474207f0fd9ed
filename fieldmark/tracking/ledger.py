"""The ledger of the gate: one JSON object a line, each with the sha256 of the line before; appended, never rewritten.

MLflow keeps no history of aliases (mlflow#2169); here it is, and an edit of any line breaks the chain.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import canonical, fingerprint
from fieldmark.tracking.gate import PROMOTE, Decision

BEGINNING = "0" * 64


def append(
    path: Path, decision: Decision, *, model: str, challenger: str, champion: str | None, lineage: Mapping[str, str]
) -> bool:
    """Write a decision at the end, synced to the disk; return False if the ledger already holds the very same one.

    Args:
        path: the ledger; made when missing.
        decision: what the gate said.
        model: name of the registered model.
        challenger: version that was judged.
        champion: version it was judged against; None before the first.
        lineage: fingerprint of what each version was made from.

    Raises:
        FieldmarkError: the chain is broken; nothing is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = {
        **decision._asdict(),
        "model": model,
        "challenger": challenger,
        "champion": champion,
        "lineage": dict(lineage),
    }
    name = fingerprint(entry)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        known = read(path)
        if any(line["fingerprint"] == name for line in known):
            return False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {**entry, "fingerprint": name, "time": now, "previous": _last_hash(path)}
        stream.write(canonical(line).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return True


def read(path: Path) -> list[dict[str, Any]]:
    """Return all decisions, oldest first; no file is no decision.

    Raises:
        FieldmarkError: the chain is broken.
    """
    problems = verify(path)
    if problems:
        raise FieldmarkError(
            f"{path}: {problems[0]}; the ledger is evidence, so restore it from a copy instead of mending it."
        )
    return [json.loads(line) for line in _lines(path)]


def astray(decisions: Sequence[Mapping[str, Any]], model: str, champion: str | None) -> list[str]:
    """Return what is wrong with a champion that the gate did not promote last; empty if all is well.

    Of several that it promoted against the same champion, the best was taken: it may be any of them.

    Args:
        decisions: the ledger.
        model: name of the registered model.
        champion: version that carries the alias; None if there is none.

    >>> first = {"model": "m", "verdict": "promote", "challenger": "1", "champion": None}
    >>> astray([first], "m", "1"), astray([], "m", None)
    ([], [])
    >>> astray([first], "m", "2")[0][:70]
    "the champion is version 2, but the ledger's last promotion is of versi"
    """
    newest_first = [one for one in reversed(decisions) if (one["model"], one["verdict"]) == (model, PROMOTE)]
    last = [
        one["challenger"] for one in takewhile(lambda one: one["champion"] == newest_first[0]["champion"], newest_first)
    ]
    if champion in (last or [None]):
        return []
    if not last:
        return [
            f"there is a champion (version {champion}) and no promotion in the ledger: "
            "restore the ledger from a copy, or take the alias away in fieldmark ui and run make repro"
        ]
    found = f"the champion is version {champion}" if champion else "there is no champion"
    return [
        f"{found}, but the ledger's last promotion is of version {' or '.join(last[::-1])}: somebody moved the alias "
        "or cut the ledger; move it back in fieldmark ui, or restore the ledger from a copy"
    ]


def verify(path: Path) -> list[str]:
    """Return what is wrong with the chain, a sentence for each line; empty if whole."""
    problems: list[str] = []
    previous = BEGINNING
    for number, line in enumerate(_lines(path), 1):
        try:
            entry = json.loads(line)
            said = entry["previous"]
        except (ValueError, KeyError, TypeError):  # of JSON and of UTF-8
            return [*problems, f"line {number} is not a whole decision"]
        told = {key: value for key, value in entry.items() if key not in ("fingerprint", "time", "previous")}
        if said != previous:
            problems.append(f"line {number} does not follow line {number - 1}: one of the two was changed or taken out")
        if fingerprint(told) != entry.get("fingerprint"):
            problems.append(f"line {number} was changed after it was written")
        previous = hashlib.sha256(line).hexdigest()
    return problems


def _lines(path: Path) -> list[bytes]:
    """Return the lines without their ends; what follows the last end is a line torn by a crash."""
    *whole, torn = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return [*whole, torn + b"(torn)"] if torn else whole


def _last_hash(path: Path) -> str:
    lines = _lines(path)
    return hashlib.sha256(lines[-1]).hexdigest() if lines else BEGINNING
