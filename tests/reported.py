"""Made-up results, as plausible as real ones, that the report's tests print and draw."""

from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from fieldmark.core import plugins
from fieldmark.core.contracts import Score
from fieldmark.report import about, claims, curves, page, plots, strips
from fieldmark.report.about import About
from fieldmark.report.pictures import Failures, Picture
from fieldmark.report.strips import Answer, Strip

ROOT = Path(__file__).parent.parent
ORDER = ["erm", "erm_unbiased", "ersm", "oracle_mask", "random_mask", "inverted_mask"]
VARIANTS = ["original", "only_fg", "no_fg", "only_bg_box", "only_bg_tiled", "mixed_same", "mixed_rand", "mixed_next"]
LEVELS = {  # plausible, made up: average, worst group, BG-Gap, mask AUC of each model
    "erm": (0.892, 0.721, 0.151, 0.5),
    "erm_unbiased": (0.932, 0.91, 0.02, 0.5),
    "ersm": (0.897, 0.752, 0.128, 0.71),
    "oracle_mask": (0.974, 0.946, 0.0, 1.0),
    "random_mask": (0.861, 0.69, 0.17, 0.5),
    "inverted_mask": (0.611, 0.31, 0.42, 0.0),
}
FLOOR, CEILING = LEVELS["erm"][1], LEVELS["oracle_mask"][1]
UNKNOWN = float("nan")


def row(model, metric, mean, half=0.03, chance=0.5, higher=True, **more):
    ends = {"mean": mean, "low": mean - half, "high": mean + half}
    facts = {"n": 1200, "seeds": 3, "chance": chance, "higher_is_better": higher}
    return {"model": model, "metric": metric, "part": "test"} | ends | facts | more


def rows():
    table = []
    for model, (average, worst, gap, auc) in LEVELS.items():
        table += [row(model, "average", average), row(model, "worst_group", worst, half=0.06)]
        table += [row(model, "gap_closed", (worst - FLOOR) / (CEILING - FLOOR), half=0.2, chance=UNKNOWN)]
        table += [row(model, "alignment_gap", gap + 0.02, chance=0.0, higher=False)]
        table += [row(model, "bg_gap", gap, chance=0.0, higher=False)]
        table += [row(model, f"acc_{v}", average - 0.04 * place) for place, v in enumerate(VARIANTS)]
        table += [row(model, "token_auc", auc, half=0.01), row(model, "energy_pointing", auc / 2, 0.01, chance=0.31)]
        table += [row(model, "mask_iou_top_area", UNKNOWN, chance=UNKNOWN)]
        table += [row(model, m, average - 0.1 * n, chance=0.66) for n, m in enumerate(plots.DELETIONS)]
    return table


def picture(model, number):
    random = np.random.default_rng(number)
    ramp = np.linspace(40, 220, 160)[:, None, None] * np.ones((1, 160, 3)) * random.uniform(0.5, 1, 3)
    predicted = "bird" if number % 3 else "land mammal"
    looked = UNKNOWN if number == 3 else number / 12
    return Picture(
        model, ramp.astype(np.uint8), random.random((5, 5)), "bird", "land", predicted, 0.5 + number / 30, looked
    )


def curve(name, numbers, values, chance=0.5):
    """Return a score whose cells are the points of a curve, one observation each."""
    cells = np.array([f"{name}:{number}" if name else str(number) for number in numbers])
    return Score(np.array(values), cells, np.arange(len(cells)), chance=chance, weights=dict.fromkeys(cells, 1.0))


def lines(order):
    """Return curves of every model, as plausible as its average."""
    shares, steps = (0, 0.25, 0.5, 0.75), tuple(np.linspace(0, 1, 9))
    told = []
    for place, model in enumerate(order):
        start, worst, _, _ = LEVELS[ORDER[place % len(ORDER)]]
        for kind, loss in (("random", 0.3), ("object", 0.5), ("background", 1 - worst)):
            falling = [curve("drop", shares, [start - loss * share for share in shares])]
            told += curves.lines(model, f"occlusion_{kind}", falling)
        noise = [curve("gaussian_noise", range(1, 6), start - 0.05 * np.arange(5))] * 2
        told += curves.lines(model, "corruption_accuracy", noise)
        told += curves.lines(model, "robust_pgd", [curve("eps", (1, 2, 4, 8), start / np.array([1, 2, 4, 8]))])
        for order_ in ("own", "random"):
            told += curves.lines(model, f"deletion_{order_}", [curve("", steps, start * (1 - np.array(steps) ** 2))])
    return told


def strip(order, number=0):
    """Return an object on every background; the last models read the background."""
    variants = strips.CHALLENGE
    images = [picture("erm", number + place).image_HW3 for place in range(len(variants))]
    answers = {
        model: [
            Answer("bird", 0.9, None if strips.gone(variant) else True)
            if place < 4 or variant in ("original", "mixed_same") or strips.gone(variant)
            else Answer("land mammal", 0.7, False)
            for variant in variants
        ]
        for place, model in enumerate(order)
    }
    places = ["" if variant == "only_fg" else "land" for variant in variants]
    return Strip("bird", "bird on land", f"test-{number:05}", variants, places, images, answers)


def trained():
    return [
        plots.Curve(model, seed, measure, np.exp(-np.arange(30) / (5 + place)) + 0.02 * seed)
        for place, model in enumerate(ORDER)
        for seed in range(3)
        for measure in ("loss", "validation error")
    ]


def known():
    """Return what is known of each model."""
    return {
        model: About(
            about.family(model, deployable=not model.endswith("_mask"), train_part="train"),
            "none",
            {"parameters": 3_400_000 + place, "macs": 2e8 * (1 + place)},
            {"oracle_mask": about.TOP, "inverted_mask": about.BOTTOM}.get(model, ""),
        )
        for place, model in enumerate(ORDER)
    }


class Measured:
    """Results whose intervals are as wide as told."""

    def __init__(self, means, half=0.04):
        self.observed, self.half = {(*key, "test")[:3]: mean for key, mean in means.items()}, half

    def row(self, key):
        return {"mean": self.observed[key]}

    def _around(self, mean):
        return SimpleNamespace(mean=mean, low=mean - self.half, high=mean + self.half)

    def difference(self, plus, minus):
        return self._around(self.observed[plus] - (self.observed[minus] if minus else 0))

    def share_of_gap(self, key, low, high, *, here):
        own, bottom, top = (self.observed[one] for one in (key, low, high))
        return self._around((own - bottom) / (top - bottom))


def ledger():
    return claims.ledger(Measured({(row["model"], row["metric"]): row["mean"] for row in rows()}))


@cache
def drawn():
    """Return the plots of ``example``, drawn once: they take seconds."""
    return plots.drawings(rows(), ORDER, trained(), known(), lines(ORDER))


def example():
    groups = [f"{label} on {background}" for label in ("bird", "land mammal") for background in ("land", "water")]
    interval = {"mean": 0.031, "low": -0.012, "high": 0.071}
    reasons = [
        {"check": "smallest group", "found": 300, "needed": "at least 50", "passed": True},
        {"check": "worst-group accuracy, challenger minus champion", "found": interval}
        | {"needed": "interval wholly above 0", "passed": False},
    ]
    decision = {"challenger": "ersm", "champion": "erm", "verdict": "not enough evidence", "reasons": reasons}
    cells = [{"cell": f"train@{m}-{s}", "run": "0" * 32, "outputs": "f" * 32} for m in ORDER for s in range(3)]
    return {
        "title": "fieldmark on wildstamps",
        "rows": rows(),
        "models": {model: plugins.sentence("models", model) for model in ORDER},
        "level": 0.95,
        "claims": ledger(),
        "groups": [
            row(model, "group", worst + 0.05 * place, group=group, n=300)
            for model, (_, worst, _, _) in LEVELS.items()
            for place, group in enumerate(groups)
        ]
        + [row("erm", "group", UNKNOWN, group="bird on moon", n=0)],
        "gallery": [picture(model, number) for model in ORDER for number in range(4)],
        "compared": [picture(model, number) for model in ORDER for number in range(2)],
        "strips": [strip(ORDER), strip(ORDER, 1)],
        "failures": {
            model: Failures(400, 40 * place, 0.7 if place else UNKNOWN, [picture(model, 0)][:place])
            for place, model in enumerate(ORDER)
        },
        "about": known(),
        "drawings": drawn(),
        "provenance": page.Provenance({"git commit": "225def6", "source index, sha256": "a" * 64}, cells),
        "gate": page.Gate("erm", [decision]),
        "meanings": {
            name: plugins.find(room, plugin).MEANING
            for room, plugin, name in [
                ("robustness", "average", "average"),
                ("robustness", "worst_group", "worst_group"),
                ("robustness", "bg_gap", "bg_gap"),
                ("explain", "token_auc", "token_auc"),
            ]
        },
    }


def many():
    """A page of as many models as a comparison of papers has, with as many pictures."""
    words = {f"{family}_{n}".replace(" ", "_"): family for family in about.FAMILIES for n in range(8)}
    words = {"erm": about.BASELINES} | words
    table = [
        one | {"model": word, "mean": one["mean"] - 0.003 * place}
        for place, word in enumerate(words)
        for one in rows()
        if one["model"] == ORDER[place % len(ORDER)]
    ]
    told = {word: About(family, "train groups", {"macs": 2e8}) for word, family in words.items()}
    return example() | {
        "rows": table,
        "models": dict.fromkeys(words, "A model."),
        "about": told,
        "groups": [row(word, "group", 0.8, group=group, n=300) for word in words for group in ("a on b", "c on d")],
        "gallery": [picture(word, number) for word in words for number in range(12)],
        "compared": [picture(word, number) for word in words for number in range(6)],
        "drawings": plots.drawings(
            table,
            list(words),
            [plots.Curve(word, 0, "loss", np.exp(-np.arange(30) / 9)) for word in words],
            told,
            lines(words),
        ),
        "strips": [strip(words, number) for number in range(6)],
        "failures": {word: Failures(400, 40, 0.7, [picture(word, n) for n in range(5)]) for word in words},
    }
