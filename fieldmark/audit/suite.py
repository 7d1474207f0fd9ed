"""Runs the measures on a black box and on the two ends of the scale, and makes rows with intervals of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.audit.answers import GRID, Answers, Reader
from fieldmark.audit.examples import Examples
from fieldmark.core import plugins
from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.loading.batches import tokens
from fieldmark.loading.cache import Renders
from fieldmark.stats import Interval, Observed, interval
from fieldmark.variants import apply

Model = Answers | Reader
Measures = Mapping[str, Mapping[str, Any]]  # plugin -> its options

TESTS: Measures = dict.fromkeys(
    ("average", "worst_group", "acc_groupmean", "acc_trainprior", "alignment_gap", "backgrounds_challenge", "bg_gap",
     "corruption"), {}
)  # fmt: skip
LOOKS = ("energy_pointing", "token_auc", "mask_iou")  # need a map and the true mask, nothing else
OBJECT, BACKGROUND = "reads the object", "reads the background"
READERS = {
    OBJECT: "One end of the scale: names the class by the object alone, always right where it can be seen.",
    BACKGROUND: "The other end: names the class that usually goes with the background, whatever the object.",
}
CHANGED, FOLLOWS = "named_otherwise", "follows_background"
MAPS = "By hiding patches: a patch weighs as much as the label's log-probability falls when it is grey."


class Measured(NamedTuple):
    """What was measured of one model."""

    observed: dict[str, Observed]
    facts: dict[str, dict[str, Any]]  # direction and meaning
    left_out: dict[str, str]  # measure -> why


def robustness(predict: Model, examples: Examples, tests: Measures) -> Measured:
    """Return what the room's tests find; one that can't be done is left out, with the reason."""
    known: dict[str, Any] = {"predict": predict, "recipes": examples.recipes, "vary": partial(_vary, examples)}
    known |= {"classes": examples.classes, "pairs": examples.pairs}
    if examples.train_groups is not None:
        known["train_groups"] = examples.train_groups
    found: dict[str, tuple[Score, dict[str, Any]]] = {}
    left_out = {}
    for name, options in tests.items():
        test = plugins.find("robustness", name)
        lacking = plugins.wanted(test, known)
        if lacking:
            left_out[name] = f"needs {', '.join(lacking)}, which is not known of this model"
            continue
        try:
            found |= plugins.measured(test, known, dict(options))
        except FieldmarkError as mistake:
            left_out[name] = str(mistake)
    for name, own in OWN.items():
        try:
            found[name] = own(predict, examples)
        except FieldmarkError as mistake:
            left_out[name] = str(mistake)
    return Measured(*_observed(found, examples.recipes), left_out)


def _vary(examples: Examples, name: str, recipes: pd.DataFrame) -> pd.DataFrame:
    varied = apply(name, recipes, pairs=examples.pairs, seed=examples.seed)
    varied.attrs["variant"] = name  # for the progress bar
    return varied


def changed_mind(predict: Model, examples: Examples) -> tuple[Score, dict[str, Any]]:
    """Return how often the same object gets another name on another class's background than on its own class's."""
    named_VN = [
        predict.columns(_vary(examples, variant, examples.recipes)).argmax(1)
        for variant in ("mixed_same", "mixed_next")
    ]
    changed_N = (named_VN[0] != named_VN[1]).astype(np.float64)
    meaning = (
        "Share of objects that are named otherwise when only the background is exchanged: one of the kind their class"
        " goes with for one of the kind the next class goes with; 0 = the background does not matter."
    )
    rows, cells = np.arange(len(changed_N)), np.full(len(changed_N), "all")
    score = Score(changed_N, cells, rows, weights={"all": 1.0})
    return score, {"higher_is_better": False, "meaning": meaning}


def follows(predict: Model, examples: Examples) -> tuple[Score, dict[str, Any]]:
    """Return how often a background alone is given the name of the class that usually stands on it."""
    alone = _vary(examples, "only_bg_tiled", examples.recipes)
    goes_with = {background: label for label, background in examples.pairs.items()}
    usual_N = alone["background"].map(goes_with)  # NaN: no class of its own, nothing to follow
    named_N = np.array([*examples.classes, ""])[predict.columns(alone).argmax(1)]
    followed_N = np.where(usual_N.notna(), (usual_N == named_N).astype(np.float64), np.nan)
    meaning = (
        "With the object tiled over by background: share of pictures that are given the name of the class that usually"
        " stands there, each class counting the same; at chance, the background says nothing to the model."
    )
    cells_N, weights = usual_N.fillna("").to_numpy(str), dict.fromkeys(sorted(goes_with.values()), 1.0)
    score = Score(followed_N, cells_N, np.arange(len(alone)), chance=1 / len(examples.classes), weights=weights)
    return score, {"higher_is_better": False, "meaning": meaning}


#: What only an audit measures.
OWN = {CHANGED: changed_mind, FOLLOWS: follows}


def looks(maps_Nhw: npt.NDArray[np.float64], objects_NHW: npt.NDArray[np.bool_], recipes: pd.DataFrame) -> Measured:
    """Return how far maps lie on the objects."""
    found: dict[str, tuple[Score, dict[str, Any]]] = {}
    for name in LOOKS:
        measure = plugins.find("explain", name)
        found |= plugins.measured(measure, {"map_Bhw": maps_Nhw, "object_BHW": objects_NHW}, {})
    told = {
        metric: (score, {**facts, "meaning": f"{facts['meaning']} {MAPS}"}) for metric, (score, facts) in found.items()
    }
    return Measured(*_observed(told, recipes), {})


def _observed(
    found: Mapping[str, tuple[Score, dict[str, Any]]], recipes: pd.DataFrame
) -> tuple[dict[str, Observed], dict[str, dict[str, Any]]]:
    sources = recipes[["fg_source", "bg_source"]]
    observed = {
        metric: Observed(score, sources.iloc[score.rows].reset_index(drop=True)) for metric, (score, _) in found.items()
    }
    return observed, {metric: facts for metric, (_, facts) in found.items()}


def ends(examples: Examples, tests: Measures, shown: Renders, seen: pd.DataFrame) -> dict[str, Measured]:
    """Return the same measures of two readers whose answers are known: what is best, and what is a cheat."""
    objects_NHW = shown.masks_UHW[shown.rows_N]
    side = objects_NHW.shape[1] // GRID * GRID  # whole patches
    share_Nhw = tokens(objects_NHW[:, :side, :side], side // GRID).astype(np.float64)
    found = {}
    for name, by, maps_Nhw in ((OBJECT, "object", share_Nhw), (BACKGROUND, "background", 1 - share_Nhw)):
        reader = Reader(examples.classes, examples.pairs, by=by)
        robust, looked = robustness(reader, examples, tests), looks(maps_Nhw, objects_NHW > 127, seen)
        found[name] = Measured({**robust.observed, **looked.observed}, {**robust.facts, **looked.facts}, {})
    return found


class Intervals:
    """Rows of the leaderboard; intervals are made by redrawing sources."""

    def __init__(self, *, draws: int = 2000, level: float = 0.95, cluster: Sequence[str] = ("fg_source",)) -> None:
        self.how: dict[str, Any] = {"draws": draws, "level": level, "cluster": list(cluster)}

    def of(self, observed: Observed) -> Interval:
        """Return an estimate with its bounds."""
        return interval([observed], **self.how)

    def rows(self, model: str, measured: Measured) -> list[dict[str, Any]]:
        """Return a row for each measure of a model."""
        return [
            {
                **{"model": model, "metric": metric, "part": "test"},
                **_plain(self.of(observed)),
                "chance": observed.score.chance,
                "higher_is_better": measured.facts[metric]["higher_is_better"],
            }
            for metric, observed in measured.observed.items()
        ]

    def groups(self, model: str, measured: Measured) -> list[dict[str, Any]]:
        """Return a row for each group: its accuracy, and how many examples it has."""
        worst = measured.observed.get("worst_group")
        counts = worst.score.counts() if worst else {}
        return [
            {"model": model, "group": group, **_plain(self.weighted(worst, {group: 1.0})), "n": count}
            for group, count in counts.items()
            if worst
        ]

    def weighted(self, observed: Observed, weights: dict[str, float]) -> Interval:
        """Return the weighted sum of cells, such as one group minus another."""
        return self.of(observed._replace(score=observed.score._replace(combine="contrast", weights=weights)))


def _plain(found: Interval) -> dict[str, Any]:
    told = found._asdict()
    del told["lost"]
    return told


def asked_about(answers: Answers, recipes: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return what was said of each example, and how sure; "something else" is what the data does not have."""
    probabilities_NK = answers.columns(recipes)
    named = np.array([*classes, "something else"])[probabilities_NK.argmax(1)]
    return recipes[["example_id", "label", "background", "group", "fg_source", "bg_source"]].assign(
        predicted=named, probability=probabilities_NK.max(1)
    )
