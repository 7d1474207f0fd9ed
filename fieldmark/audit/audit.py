"""The audit itself: open, find pictures, measure, put into words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.audit import examples as data_room
from fieldmark.audit import mapping, suite, words
from fieldmark.audit.answers import Answers
from fieldmark.audit.examples import Examples
from fieldmark.audit.opening import opened
from fieldmark.classifiers._pixels import EXAMPLE
from fieldmark.core import layout, plugins, store
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError
from fieldmark.loading.cache import Renders

MODEL = "the model"  # its name on the leaderboard


class Looks(NamedTuple):
    """Where the model looks in L of the examples."""

    told: pd.DataFrame  # what was said of them
    seen: pd.DataFrame  # their recipes
    maps_Lhw: npt.NDArray[np.float64]
    shown: Renders


class Audit(NamedTuple):
    """Everything that was found."""

    what: str  # as it was asked for
    box: BlackBox
    examples: Examples
    classes: dict[str, str]  # the model's class -> the data's; what is not there is always wrong
    looks: Looks
    rows: list[dict[str, Any]] = []  # of the leaderboard: the model and the two ends
    groups: list[dict[str, Any]] = []
    meanings: dict[str, str] = {}
    left_out: dict[str, str] = {}  # measure -> why
    said: list[str] = []  # the findings, a sentence each
    level: float = float("nan")  # of the intervals
    fingerprints: dict[str, str] = {}


def audit(
    model: str,
    root: Path,
    *,
    data: str | None = None,
    classes: str | None = None,
    pairs: str | None = None,
    config: Path | None = None,
    count: int = 400,
    looked: int = 48,
    seed: int | None = None,
    everything: bool = False,
) -> Audit:
    """Measure how much a model leans on the background; the arguments are the command's.

    ``root`` is the project, or any folder: renders are kept in its ``.cache``.

    Raises:
        FieldmarkError: whatever is wrong with any of them, in one sentence that says what to do.
    """
    if count < 1 or looked < 1:
        raise FieldmarkError(f"--examples is {count} and --look is {looked}: give numbers above 0.")
    if seed is not None and seed < 0:
        raise FieldmarkError(f"--seed is {seed}: give a number from 0 on.")
    with opened(model, root, _facts(config)) as (box, trained_on):
        goes_with = None if pairs is None else mapping.pairs(pairs)
        wanted_seed = seed if seed is not None else trained_on
        examples = data_room.find(root, data, pairs=goes_with, seed=wanted_seed, count=count)
        found = mapping.mapped(box.classes, examples.classes, classes)
        cache = layout.cache(root) / "rendered"
        answers = Answers(box, found, examples.classes, examples.sources, cache)
        print(f"{model}: {box.about}, {len(box.classes)} classes, {box.size} px")
        print(f"{len(examples.recipes)} pictures: {examples.about}")
        answers.raw(examples.recipes)  # what is wrong with the model itself shows here, and not as a measure left out
        tests = _tests(root, everything)
        robust = suite.robustness(answers, examples, tests)
        looks = look(answers, examples, looked)
    params = data_room.params_of(root)
    intervals = suite.Intervals(**params.stats.model_dump()) if params else suite.Intervals()
    ends = suite.ends(examples, tests, looks.shown, looks.seen)
    named = {said: examples.classes[to] for said, to in zip(box.classes, found, strict=True) if to >= 0}
    return _summed(Audit(model, box, examples, named, looks), robust, ends, intervals)


def look(answers: Answers, examples: Examples, count: int) -> Looks:
    """Return where hiding patches changes the answers, on some of the examples."""
    seen = data_room.chosen(examples.recipes, count)
    maps_Lhw, shown = answers.occlusion(seen), answers.pictures(seen)
    return Looks(suite.asked_about(answers, seen, examples.classes), seen, maps_Lhw, shown)


def _summed(found: Audit, robust: suite.Measured, ends: dict[str, suite.Measured], intervals: suite.Intervals) -> Audit:
    """Put measures and their intervals together, and in words."""
    seen, shown = found.looks.seen, found.looks.shown
    looks = suite.looks(found.looks.maps_Lhw, shown.masks_UHW[shown.rows_N] > 127, seen)
    own = suite.Measured({**robust.observed, **looks.observed}, {**robust.facts, **looks.facts}, robust.left_out)
    measured, examples = {MODEL: own, **ends}, found.examples
    index = examples.sources.index[["source_id", "sha256"]].to_dict("list")
    return found._replace(
        rows=[row for who, one in measured.items() for row in intervals.rows(who, one)],
        groups=[row for who, one in measured.items() for row in intervals.groups(who, one)],
        meanings={metric: facts["meaning"] for metric, facts in own.facts.items()},
        left_out=own.left_out,
        said=words.summary(own, examples.pairs, intervals),
        level=intervals.how["level"],
        fingerprints={
            "model": store.fingerprint(dict(found.box.files)),
            "data": store.fingerprint([index, examples.recipes.to_dict("list")]),
            "code": plugins.code(),
        },
    )


def _tests(root: Path, everything: bool) -> suite.Measures:
    """Return the tests to run: all, or the project's, or the usual ones."""
    params = data_room.params_of(root)
    wanted: suite.Measures = params.evaluate.tests if params else suite.TESTS
    return {**dict.fromkeys(plugins.names("robustness"), {}), **wanted} if everything else wanted


def _facts(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        found = store.read_json(config)
    except (OSError, ValueError) as error:
        raise FieldmarkError(f"--config {config} can't be read ({error}): give a file such as {EXAMPLE}.") from None
    if not isinstance(found, dict):
        raise FieldmarkError(f"--config {config} is no JSON object: write it as {EXAMPLE}.")
    return found
