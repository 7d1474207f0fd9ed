"""Claim: intervals hold the truth, and tests err, about as often as they say, on data clustered as wildstamps is.

    python -m bench.coverage [--studies 400] [--draws 400]

Each simulated study draws its own 35 + 60 objects from a population and gives each an ease of its own, on either kind
of background another, and a little luck with each training; each seed tests its own share of them (``PARTS``, 100
pictures a group) on two models, which find the same objects hard. How much objects, places and trainings differ is
assumed (``WORLDS``), not fitted to wildstamps. What is true of the population is
known, so each interval either holds it or not; ``worst_plain`` is the worst group with the plain percentiles of the
same draws. A line says how often it does (95 % is asked), how often it lies wholly
below or above it, its width, and how often the test finds a difference: its error where there is none, its power where
there is one.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr

from fieldmark.core.contracts import Score
from fieldmark.stats import Interval, Observed, interval
from fieldmark.stats.bootstrap import redraw
from fieldmark.stats.comparisons import Comparison, compare

Floats = npt.NDArray[np.float64]
OBJECTS = (35, 60)  # of either label
PARTS = {"test": (12, 21), "val": (5, 9)}  # objects of either label in one seed's part
EACH = 100  # pictures a group
GROUPS = np.array(["a on x", "a on y", "b on x", "b on y"])


class World(NamedTuple):
    """How hard things are, as probits: a picture is named right with probability ndtr(group + ...)."""

    one: tuple[float, ...] = (2.6, 0.8, 2.4, 1.2)  # of each group: a model that leans on the background
    other: tuple[float, ...] = (2.6, 1.4, 2.4, 1.6)  # one that leans less
    objects: float = 1.0  # standard deviation between objects
    places: float = 0.5  # of an object between kinds of background
    trainings: float = 0.1  # of a group between trainings
    luck: float = 0.3  # of an object between trainings
    common: float = 0.7  # share of each variance that both models have in common


WORLDS = {
    "one group worse": World(),
    "alike": World(other=World().one),
    "groups alike": World((1.0,) * 4, (1.0,) * 4),
    "near the ceiling": World((2.6, 2.0, 2.4, 2.2), (2.6, 2.0, 2.4, 2.2)),
    "trainings differ": World(objects=0.5, places=0.3, trainings=0.6),
}


SIZES = [("test", 3), ("test", 5), ("val", 3), ("val", 5), ("test", 1), ("val", 1)]  # part and seeds


class Truth(NamedTuple):
    """Means over all trainings, of the first model and of the other minus the first."""

    mean: float
    worst: float
    mean_difference: float
    worst_difference: float


def truth(world: World) -> Truth:
    """Return what is true of the population: exact but for the 400,000 trainings it is averaged over."""
    spread = np.sqrt(1 + world.objects**2 + world.places**2 + world.luck**2)
    trainings_TG = world.trainings * np.random.default_rng(0).normal(size=(400_000, 4))
    one_TG, other_TG = (ndtr((np.array(model) + trainings_TG) / spread) for model in (world.one, world.other))
    mean, worst = one_TG.mean(), one_TG.min(1).mean()
    return Truth(mean, worst, other_TG.mean() - mean, other_TG.min(1).mean() - worst)


def study(world: World, rng: np.random.Generator, part: str, seeds: int) -> tuple[list[Observed], list[Observed]]:
    """Return what one study sees of two models, by seed; their scores are worst groups."""
    total, models = sum(OBJECTS), (world.one, world.other)
    ease_MO, place_MOG, chance_MSG, luck_MSOG = (
        size * _two(rng, world.common, *shape)
        for size, shape in [
            (world.objects, (total,)),
            (world.places, (total, 4)),
            (world.trainings, (seeds, 4)),
            (world.luck, (seeds, total, 4)),
        ]
    )
    seen: tuple[list[Observed], list[Observed]] = ([], [])
    for seed in range(seeds):
        own = [rng.choice(size, tested, replace=False) for size, tested in zip(OBJECTS, PARTS[part], strict=True)]
        objects_N = np.concatenate([rng.choice(own[label] + label * OBJECTS[0], 2 * EACH) for label in (0, 1)])
        groups_N = np.repeat(np.arange(4), EACH)
        for model, base in enumerate(models):
            probit_N = np.array(base)[groups_N] + ease_MO[model, objects_N] + place_MOG[model, objects_N, groups_N]
            probit_N += chance_MSG[model, seed, groups_N] + luck_MSOG[model, seed, objects_N, groups_N]
            values_N = (rng.random(len(groups_N)) < ndtr(probit_N)).astype(np.float64)
            weights = dict.fromkeys(GROUPS.tolist(), 1.0)
            score = Score(values_N, GROUPS[groups_N], np.arange(len(groups_N)), "worst", weights=weights)
            sources = pd.DataFrame({"fg_source": objects_N.astype(str), "bg_source": "scene"})
            seen[model].append(Observed(score, sources))
    return seen


def _two(rng: np.random.Generator, common: float, *shape: int) -> Floats:
    """Return standard normal numbers for two models (2, ...), correlated by ``common``."""
    shared, own = rng.normal(size=shape), rng.normal(size=(2, *shape))
    return np.asarray(np.sqrt(common) * shared + np.sqrt(1 - common) * own)


#: What one study says of each field of Truth.
Found = dict[str, Interval | Comparison]


def studies(world: World, *, part: str, seeds: int, number: int, draws: int, level: float = 0.95) -> Iterator[Found]:
    """Run ``number`` studies, always the same ones."""
    how: dict[str, Any] = {"draws": draws, "level": level, "cluster": ["fg_source"]}
    rng = np.random.default_rng(0)
    for _ in range(number):
        worst = study(world, rng, part, seeds)
        mean = [[seen._replace(score=seen.score._replace(combine="mean")) for seen in model] for model in worst]
        measures = {"mean": mean, "worst": worst}
        one = {name: interval(models[0], **how) for name, models in measures.items()}
        two = {f"{name}_difference": compare(models[1], models[0], **how) for name, models in measures.items()}
        plain = np.quantile(
            redraw([worst[0]], draws=draws, cluster=how["cluster"])[0][1:], [(1 - level) / 2, (1 + level) / 2]
        )
        yield {**one, **two, "worst_plain": one["worst"]._replace(low=plain[0], high=plain[1])}


def main() -> None:
    """Print a line for each measure of each world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--draws", type=int, default=400)
    args = parser.parse_args()
    print(f"{'world':17} part seeds  {'measure':17} truth  holds  below  above  width  p<0.05")
    for (name, world), (part, seeds) in itertools.product(WORLDS.items(), SIZES):
        true = truth(world)
        found = list(studies(world, part=part, seeds=seeds, number=args.studies, draws=args.draws))
        for measure in (*Truth._fields, "worst_plain"):
            said = _said([one[measure] for one in found], getattr(true, measure.removesuffix("_plain")))
            print(f"{name:17} {part:4} {seeds:5}  {measure:17} {said}", flush=True)


def missed(found: Sequence[Interval | Comparison], true: float) -> tuple[float, float]:
    """Return which share of intervals lies wholly below the truth, and which above."""
    ends = [one.difference if isinstance(one, Comparison) else one for one in found]
    return float(np.mean([one.high < true for one in ends])), float(np.mean([one.low > true for one in ends]))


def _said(found: Sequence[Interval | Comparison], true: float) -> str:
    below, above = missed(found, true)
    ends = [one.difference if isinstance(one, Comparison) else one for one in found]
    width = np.mean([one.high - one.low for one in ends])
    seen = [one.p < 0.05 for one in found if isinstance(one, Comparison)]
    p = f"{np.mean(seen):6.3f}" if seen else ""
    return f"{true:6.3f} {1 - below - above:6.3f} {below:6.3f} {above:6.3f} {width:6.3f}  {p}".rstrip()


if __name__ == "__main__":
    main()
