"""Whether the index of source images may pass."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fieldmark.checks import pixels
from fieldmark.checks.expectations import Rule, among, between, judge, never, unique
from fieldmark.checks.verdict import Verdict
from fieldmark.core.tables import INDEX, ROLES, conform

KEY = "source_id"


def check_index(index: pd.DataFrame, root: Path, *, classes: Sequence[str], backgrounds: Sequence[str]) -> Verdict:
    """Judge an INDEX table and the pixels it points to.

    Args:
        index: the table; its order of rows does not matter.
        root: folder of the shards.
        classes: labels that objects may have.
        backgrounds: backgrounds that scenes and photos may show.

    Raises:
        FieldmarkError: the columns or types are not those of INDEX.
    """
    table = conform(index, INDEX)
    table = table.assign(pixels=pixels.faults(table, root))
    rules = [*_rules(classes, backgrounds), *(never(text, "pixels", fault) for fault, text in pixels.FAULTS.items())]
    return Verdict.of(judge(table, KEY, rules), _statistics(table))


def _rules(classes: Sequence[str], backgrounds: Sequence[str]) -> list[Rule]:
    objects, places = ("role", ["cutout", "photo"]), ("role", ["scene", "photo"])
    labels, kinds = ", ".join(classes), ", ".join(backgrounds)
    return [
        Rule("there are sources", "", "ExpectTableRowCountToBeBetween", {"min_value": 1}),
        unique("source ids are unique", KEY),
        unique("no two sources have the same bytes", "sha256"),
        among(f"roles are {', '.join(ROLES)}", "role", ROLES),
        among(f"cut-outs and photos show {labels}", "label", classes, where=objects),
        among("scenes have no label", "label", [""], where=("role", ["scene"])),
        among(f"scenes and photos show {kinds}", "background", backgrounds, where=places),
        among("cut-outs have no background", "background", [""], where=("role", ["cutout"])),
        between("widths are positive", "width", 1, None),
        between("heights are positive", "height", 1, None),
        Rule("every source names its licence", "licence", "ExpectColumnValuesToMatchRegex", {"regex": r"\S"}),
    ]


def _statistics(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count the sources by what they are; "" stands for none."""
    return {
        column: {str(value): int(count) for value, count in table[column].value_counts().sort_index().items()}
        for column in ("role", "label", "background", "licence")
    }
