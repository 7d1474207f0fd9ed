"""Counterfactual strips: one object, many backgrounds, and what every model says of each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.report._template import template
from fieldmark.report.about import GONE
from fieldmark.report.leaderboard import title
from fieldmark.report.pictures import uri

CHALLENGE = (
    "original", "only_fg", "mixed_same", "mixed_rand", "mixed_next", "no_fg", "only_bg_box", "only_bg_tiled",
)  # fmt: skip
PICTURES = 8  # in a row
SIDE = 112  # px


class Answer(NamedTuple):
    """What one model says of one picture."""

    predicted: str
    probability: float
    right: bool | None  # None: the object is gone

    def __str__(self) -> str:
        """Say it, right or wrong by shape too.

        >>> print(Answer("bird", 0.931, True), Answer("bird", 0.6, False), Answer("bird", 0.5, None), sep="; ")
        ✓ bird 0.93; ✗ bird 0.60; ○ bird 0.50
        """
        return f"{'○' if self.right is None else '✓' if self.right else '✗'} {self.predicted} {self.probability:.2f}"


class Strip(NamedTuple):
    """One object on every background."""

    label: str
    group: str
    example_id: str
    variants: Sequence[str]
    backgrounds: Sequence[str]  # what kind each is; "" where it is taken away
    images: Sequence[npt.NDArray[np.uint8]]  # (H, W, 3) each
    answers: Mapping[str, Sequence[Answer]]  # by model, in the order of variants

    def held(self, model: str) -> str:
        """Return on how many other backgrounds the model stays with what it says of the picture as it is."""
        seen = [answer for answer, variant in zip(self.answers[model], self.variants, strict=True) if not gone(variant)]
        return f"{sum(answer.predicted == seen[0].predicted for answer in seen[1:])} of {len(seen) - 1}"


def gone(variant: str) -> bool:
    """Return whether the object can't be seen: what is said of it is neither right nor wrong."""
    return variant in GONE


def heading(variant: str) -> str:
    """Return what people call a variant.

    >>> heading("only_fg"), heading("background:3")
    ('object alone', 'background 3')
    """
    return title(f"acc_{variant}").removeprefix("accuracy, ").replace(":", " ")


def rows_of(known: Sequence[str]) -> list[list[str]]:
    """Return the variants of each row of pictures, the unchanged one first: those of the challenge, then backgrounds.

    >>> rows_of(["background:1", "original", "mixed_rand", "background:0", "jpeg:3"])
    [['original', 'mixed_rand'], ['original', 'background:0', 'background:1']]
    """
    numbered = [variant for variant in known if variant.startswith("background:")]
    backgrounds = sorted(numbered, key=lambda variant: int(variant.partition(":")[2]))
    found = [[v for v in CHALLENGE if v in known], ["original", *backgrounds[: PICTURES - 1]]]
    return [row for row in found if len(row) > 1 and "original" in known]


def choose(said: pd.DataFrame, objects: pd.Series, count: int) -> list[str]:
    """Return the ``count`` examples whose answer the background changes most often, one of each label first.

    Args:
        said: What every model says: ``model``, ``variant``, ``example_id``, ``label``, ``predicted``.
        objects: The source of the object, by example: no object comes twice.
        count: How many.

    >>> asked = [("a", "original", "x"), ("a", "mixed_rand", "y"), ("b", "original", "x"), ("b", "mixed_rand", "x")]
    >>> said = pd.DataFrame(asked, columns=["example_id", "variant", "predicted"]).assign(model="erm", label="x")
    >>> choose(said, pd.Series({"a": "swan", "b": "duck"}), 1)
    ['a']
    """
    seen = said[~said["variant"].isin(GONE)]
    own = seen[seen["variant"] == "original"].set_index(["model", "example_id"])["predicted"]
    first = own.reindex(pd.MultiIndex.from_frame(seen[["model", "example_id"]])).to_numpy()
    flips = seen.assign(flips=seen["predicted"].to_numpy() != first).groupby(["example_id", "label"])["flips"].sum()
    ranked = flips.reset_index().sort_values(["flips", "example_id"], ascending=[False, True])
    once = ranked.loc[~ranked["example_id"].map(objects).duplicated()]
    turns = once.assign(first=once.groupby("label").cumcount() > 0).sort_values("first", kind="stable")
    return [str(one) for one in turns["example_id"][:count]]


def files(shown: Sequence[Strip]) -> list[tuple[str, str]]:
    """Return each strip as name and SVG: the pictures, and below them a line for every model."""
    drawn = template("strip.svg", photos=photos, variant=heading)
    return [(f"strip-{place}-{one.example_id}", drawn.render(strip=one, side=SIDE)) for place, one in enumerate(shown)]


def photos(strip: Strip) -> list[str]:
    """Return the pictures as data URIs."""
    return [uri(image_HW3, SIDE) for image_HW3 in strip.images]
