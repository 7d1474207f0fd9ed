"""The audit as files, and as lines on a terminal."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.audit.answers import GRID
from fieldmark.audit.audit import MODEL, Audit
from fieldmark.audit.mapping import some
from fieldmark.audit.suite import MAPS, READERS
from fieldmark.core import store
from fieldmark.report import page, plots
from fieldmark.report.leaderboard import leaderboard_text
from fieldmark.report.pictures import Picture, spread

PICTURES = 12
WIDTH = 100  # characters of a terminal


def write(found: Audit, folder: Path) -> dict[str, Path]:
    """Write ``report.html`` and ``audit.json``, each whole or not at all, and return where they are."""
    files = {name: folder / name for name in ("report.html", "audit.json")}
    store.write_json(files["audit.json"], _numbers(found))
    content = page.Content(
        title=f"Does {found.what} lean on the background? {found.examples.name}",
        rows=found.rows,
        models={MODEL: _introduced(found), **READERS},
        level=found.level,
        claims=[],
        groups=found.groups,
        gallery=_gallery(found),
        drawings=plots.drawings(found.rows, [MODEL, *READERS], []),
        provenance=page.Provenance(_facts(found), []),
        gate=None,
        meanings=found.meanings,
        said=[*found.said, *(f"{name} was left out: {why}." for name, why in found.left_out.items())],
    )
    page.write(files["report.html"], content)
    return files


def terminal(found: Audit) -> str:
    """Return the findings and the leaderboard, wrapped."""
    head, *rest = found.said
    lines = [f"- {sentence}" for sentence in rest]
    lines += [f"- left out: {name} ({why})" for name, why in found.left_out.items()]
    wrapped = [textwrap.fill(line, WIDTH, subsequent_indent="  ") for line in lines]
    table = leaderboard_text(found.rows, [MODEL, *READERS])
    return "\n".join(["", head, "", *wrapped, "", table])


def _introduced(found: Audit) -> str:
    box, others = found.box, len(found.box.classes) - len(found.classes)
    rest = f" {others} of its classes are none of the data's, and always wrong." if others else ""
    return f"The {box.about} that is audited: {len(box.classes)} classes, {box.size} px.{rest} Its pictures: {MAPS}"


def _numbers(found: Audit) -> dict[str, Any]:
    """Return all there is to know, ready for JSON."""
    recipes, examples = found.examples.recipes, found.examples
    return {
        "said": found.said,
        "measures": [{**row, "meaning": found.meanings.get(row["metric"], "")} for row in found.rows],
        "groups": found.groups,
        "left_out": found.left_out,
        "level": found.level,
        "model": {
            **{"about": found.box.about, "size": found.box.size, "files": dict(found.box.files)},
            **{"classes": found.box.classes, "mapped": found.classes},
        },
        "data": {
            **{"name": examples.name, "about": examples.about, "seed": examples.seed, "pairs": examples.pairs},
            **{"examples": len(recipes), "objects": recipes["fg_source"].nunique()},
            **{"scenes": recipes["bg_source"].nunique(), "looked": len(found.looks.seen), "patches": GRID * GRID},
        },
        "fingerprints": found.fingerprints,
    }


def _facts(found: Audit) -> dict[str, str]:
    """Return what the page says of origins."""
    facts = {f"{name} (sha256)": digest for name, digest in found.box.files.items()}
    facts |= {f"{what} (fingerprint)": value for what, value in found.fingerprints.items()}
    for label in found.examples.classes:
        said = [name for name, stands_for in found.classes.items() if stands_for == label]
        facts[f"stands for {label}"] = some(said)
    return {**facts, "pictures": found.examples.about}


def _gallery(found: Audit) -> list[Picture]:
    """Return mistakes, then right answers, each from the least of the map on the object to the most of it."""
    looks = found.looks
    objects_Lhw = _share_of_patches(looks.shown.masks_UHW[looks.shown.rows_N] > 127)
    with np.errstate(invalid="ignore"):  # a map that is 0 everywhere tells nothing: NaN
        on_object_L = (looks.maps_Lhw * objects_Lhw).sum((1, 2)) / looks.maps_Lhw.sum((1, 2))
    told = looks.told.assign(
        wrong=looks.told["predicted"] != looks.told["label"], object=looks.told["fg_source"], on_object=on_object_L
    )
    wrong = spread(told[told["wrong"]], PICTURES // 2)
    rows = [*wrong, *spread(told[~told["wrong"]], PICTURES - len(wrong))]
    return [
        Picture(
            MODEL, np.asarray(looks.shown.images_UHW3[looks.shown.rows_N[row]]), looks.maps_Lhw[row], str(one["label"]),
            str(one["background"]), str(one["predicted"]), float(one["probability"]), float(one["on_object"]),
        )
        for row, (_, one) in zip(rows, told.loc[rows].iterrows(), strict=True)
    ]  # fmt: skip


def _share_of_patches(objects_LHW: Any) -> Any:
    """Return the share of each patch (L, GRID, GRID) that is object."""
    (H, W) = objects_LHW.shape[1:]
    rows, columns = (-(-np.arange(GRID) * side // GRID) for side in (H, W))
    sums = np.add.reduceat(np.add.reduceat(objects_LHW, rows, 1, dtype=np.float64), columns, 2)
    return sums / np.outer(np.diff(rows, append=H), np.diff(columns, append=W))
