"""What report and register share: the measures of all cells, read back with the observations behind them."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fieldmark.core import layout, plugins, store
from fieldmark.core.params import DECIDES, Params
from fieldmark.core.words import Model
from fieldmark.report import page
from fieldmark.report.about import About, end, family, supervision
from fieldmark.report.leaderboard import UNRANKED
from fieldmark.stats import (
    Interval,
    Observed,
    describe,
    difference,
    from_table,
    interval,
    share_of_gap,
    share_over_splits,
)

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"), n=0, seeds=0)
Key = tuple[str, str, str]  # model, metric, part
SHARES = {"gap_closed": False, "gap_closed_here": True}  # of the gap in it; is the interval about these sources alone?


class Results:
    """Every measure of every cell; intervals and differences are made as ``params.stats`` says."""

    def __init__(self, params: Params, root: Path) -> None:
        self.params = params
        self.facts: dict[Key, dict[str, Any]] = {}  # of the first seed: direction, meaning
        self.observed: dict[Key, list[Observed]] = {}  # by seed
        self.how = params.stats.model_dump()
        self._rows: dict[Key, dict[str, Any]] = {}
        for model in params.models:
            for seed in params.seeds:
                for path in (layout.evaluated(root, model, seed), layout.explained(root, model, seed)):
                    self._read(model, path)

    def _read(self, model: str, path: Path) -> None:
        table = store.read_table(path.with_suffix(".parquet"))
        for part, described in store.read_json(path).items():
            for metric, observed in from_table(table[table["part"] == part], described).items():
                self.observed.setdefault((model, metric, part), []).append(observed)
                self.facts.setdefault((model, metric, part), described[metric])

    def row(self, key: Key) -> dict[str, Any]:
        """Return one row of the leaderboard."""
        if key not in self._rows:
            self._rows[key] = self.gap_closed(*key[:2]) if key[1] in SHARES else self._row(*key)
        return self._rows[key]

    def _row(self, model: str, metric: str, part: str) -> dict[str, Any]:
        key = model, metric, part
        found = interval(self.observed[key], **self.how)._asdict()
        del found["lost"]
        chance = float(np.mean([observed.score.chance for observed in self.observed[key]]))
        better = None if metric in UNRANKED else self.facts[key]["higher_is_better"]
        facts = {"chance": chance, "higher_is_better": better}
        return {"model": model, "metric": metric, "part": part, **found, **facts}

    def means(self, model: str) -> dict[str, Any]:
        """Return a model's measures on the test part, one number each."""
        keys = [key for key in self.observed if key[0] == model and key[2] == "test"]
        return {"model": model, **{metric: self.row((name, metric, part))["mean"] for name, metric, part in keys}}

    def values(self, model: str, seed: int, part: str) -> dict[str, float]:
        """Return what one cell measured on a part, as ``<part>/<metric>``."""
        place = self.params.seeds.index(seed)
        return {
            f"{part}/{metric}": observed[place].score.value
            for (name, metric, where), observed in self.observed.items()
            if (name, where) == (model, part)
        }

    def packed(self, key: Key) -> dict[str, Any]:
        """Return a measure's observations ready for JSON; ``table`` has a column ``seed``, the seed's place."""
        described = [describe(one.score) for one in self.observed[key]]
        tables = [
            one.sources.assign(metric=key[1], cell=one.score.cells, value=one.score.values, seed=place)
            for place, one in enumerate(self.observed[key])
        ]
        return {"described": described, "table": pd.concat(tables).to_dict("list")}

    def groups(self, model: str) -> list[dict[str, Any]]:
        """Return the accuracy of each group of the test part."""
        per_seed, rows = self.observed[model, "worst_group", "test"], []
        for group in per_seed[0].score.means():
            alone = [one._replace(score=one.score._replace(combine="mean", weights={group: 1.0})) for one in per_seed]
            found = interval(alone, **self.how)
            count = sum(one.score.counts()[group] for one in alone)
            rows.append({"model": model, "group": group, **found._asdict(), "n": count})
        return rows

    def difference(self, plus: Key, minus: Key | None) -> Interval:
        """Return the paired difference of two measures, or one measure by itself."""
        if minus is None:
            return interval(self.observed[plus], **self.how)
        return difference(self.observed[plus], self.observed[minus], **self.how)

    def share_of_gap(self, key: Key, low: Key, high: Key, *, here: bool = False) -> Interval:
        """Return the share of the way from ``low`` to ``high`` that a measure comes, paired.

        Args:
            key: the measure.
            low: where the way begins.
            high: where it ends.
            here: the interval is about other splits of these sources, not about other sources too.
        """
        sides = [self.observed[one] for one in (key, low, high)]
        if here:
            return share_over_splits(*sides, level=self.params.stats.level)
        return share_of_gap(*sides, **self.how)

    def gap_closed(self, model: str, metric: str) -> dict[str, Any]:
        """Return as a row how much of the gap in the worst group, from baseline to true mask, a model closes."""
        low, high = ((word, DECIDES, "test") for word in (self.params.register_.baseline, "oracle_mask"))
        found = UNKNOWN
        if {low, high} <= self.observed.keys():
            found = self.share_of_gap((model, DECIDES, "test"), low, high, here=SHARES[metric])
        row = {"model": model, "metric": metric, "part": "test", **found._asdict()}
        del row["lost"]
        return {**row, "chance": float("nan"), "higher_is_better": True}

    @cached_property
    def meanings(self) -> dict[str, str]:
        """Return what each metric means."""
        return {metric: facts["meaning"] for (_, metric, _), facts in self.facts.items()}


def introduced(params: Params) -> dict[str, str]:
    """Return what each word of ``models`` is, in a sentence."""
    told = {}
    for word, model in params.models.items():
        special = model.model_dump(exclude={"plugin"}, exclude_unset=True, exclude_defaults=True)
        if special.get("objective") == params.train.objective:
            del special["objective"]
        with_what = f" With {store.canonical(special)}." if special else ""
        told[word] = plugins.sentence("models", model.plugin) + with_what
    return told


def about(params: Params, root: Path) -> dict[str, About]:
    """Return each model's kind, what it was told and what it costs; speeds are those kept of the same network."""
    bench, told = root / "bench" / "cost.json", {}
    timed = store.read_json(bench)["models"] if bench.exists() else {}
    for word, model in params.models.items():
        plugin, objective = plugins.find("models", model.plugin), plugins.find("objectives", model.objective)
        facts = {"deployable": plugin.DEPLOYABLE, "train_part": plugin.TRAIN_PART}
        counted, known = store.read_json(layout.trained(root, word, params.seeds[0]) / "cost.json"), timed.get(word, {})
        told[word] = About(
            family(model.plugin, **facts, train_on=model.train_on),
            supervision(objective.SUPERVISION, **facts, train_on=model.train_on, parts=_told_before(model)),
            known if counted.items() <= known.items() else counted,
            end(model.plugin, model.train_on),
        )
    return told


def _told_before(model: Model) -> list[str]:
    """Return what plugins that a word is made of learned elsewhere."""
    stems = [Path(file).stem for file in plugins.files("models", model.plugin, model.options)]
    parts = [plugins.find("models", stem) for stem in stems if not stem.startswith("_")]
    return [part.SUPERVISION for part in parts if hasattr(part, "SUPERVISION")]


def tested(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the ledgers that ``make claims`` brought home, by preset; ``make measure-all`` decides nothing else."""
    return {path.parent.name: store.read_json(path) for path in sorted(root.glob("data/claims/papers*/claims.json"))}


def cells(params: Params) -> list[tuple[str, int]]:
    """Return model and seed of every cell."""
    return [(model, seed) for model in params.models for seed in params.seeds]


def provenance(params: Params, root: Path) -> page.Provenance:
    """Return where the numbers come from: content hashes, and the command that follows each down to its images."""
    index = store.sha256(layout.index(root, params))
    facts = {"source index (sha256)": index, "parameters (sha256)": store.fingerprint(params.model_dump(mode="json"))}
    lines = [
        {
            "cell": f"train@{model}-{seed}",
            "weights (sha256)": store.sha256(layout.trained(root, model, seed) / "weights.safetensors")[:16],
            "split (sha256)": store.sha256(layout.split(root, params, seed))[:16],
            "follow it down": f"fieldmark trace {model}-{seed}",
        }
        for model, seed in cells(params)
    ]
    return page.Provenance(facts, lines)
