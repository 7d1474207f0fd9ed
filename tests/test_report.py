"""The report says what the numbers say, loads nothing, and is the same bytes twice."""

import base64
import io
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fieldmark.core import params, plugins, store
from fieldmark.core.contracts import Score
from fieldmark.report import about, claims, curves, leaderboard, page, plots, strips, tables, verdicts
from fieldmark.report._claim import Claim, needed
from fieldmark.report.about import About
from fieldmark.report.pictures import Failures, Picture, dimmed, sheet, weights
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

    def share_of_gap(self, key, low, high):
        own, bottom, top = (self.observed[one] for one in (key, low, high))
        return self._around((own - bottom) / (top - bottom))


def ledger():
    return claims.ledger(Measured({(row["model"], row["metric"]): row["mean"] for row in rows()}))


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
        "drawings": plots.drawings(rows(), ORDER, trained(), known(), lines(ORDER)),
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


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    page.write(path, **example())
    return path.read_text()


class Outline(HTMLParser):
    """Refuses tags that do not close what was opened; keeps attributes and text."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.attributes, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_data(self, data):
        self.text.append(data)


def test_page_is_well_formed_and_every_picture_has_words(html):
    attributes = Outline(html).attributes
    sources = [value for tag, name, value in attributes if (tag, name) == ("img", "src")]
    alts = [value for tag, name, value in attributes if (tag, name) == ("img", "alt")]
    examples = 3 * 4 * len(ORDER) + 2 * (1 + len(ORDER))  # photo, mask and both; then what all make of the same two
    examples += 2 * 8 + len(ORDER) - 1  # two strips; a mistake of all but the first
    assert len(sources) == len(alts) == 10 + examples  # ten plots
    assert all(alts)


def test_page_loads_nothing(html):
    for _, name, value in Outline(html).attributes:
        if name in ("src", "href", "srcset", "data", "action"):
            assert value.startswith(("data:", "#")), value
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html
    for drawing in re.findall(r"data:image/svg\+xml;base64,([^\"]+)", html):
        assert not re.search(r"(href|src)=\"(?!#)", base64.b64decode(drawing).decode())


def test_page_is_the_same_bytes_twice(html, tmp_path):
    page.write(tmp_path / "again.html", **example())
    assert (tmp_path / "again.html").read_text() == html


def test_every_model_and_group_is_shown(html):
    text = " ".join(Outline(html).text)
    for name in [*ORDER, "bird on moon", "mammal on water", "train@random_mask-2", "225def6"]:
        assert name in text


def test_unknown_is_a_word(html):
    text = " ".join(Outline(html).text)
    assert "unknown" in text
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", text)


def test_page_without_anything_measured_and_with_a_hostile_name(tmp_path):
    nothing = {"rows": [], "claims": [], "groups": [], "gallery": [], "compared": [], "drawings": []}
    nothing |= {"gate": None, "about": None, "strips": [], "failures": None}
    path = tmp_path / "report.html"
    page.write(path, **(example() | nothing | {"title": "<script>alert(1)</script>"}))
    text = path.read_text()
    assert "<script>alert" not in text
    assert "No champion yet" in " ".join(Outline(text).text)


def test_verdict_names_the_check_that_settled_it():
    gate = example()["gate"]
    assert page.verdict(gate) == (
        "The champion is erm: ersm stays a challenger (not enough evidence: worst-group accuracy, ersm minus erm:"
        " 0.031 [-0.012, 0.071])."
    )
    passed = [reason | {"passed": True} for reason in gate.decisions[0]["reasons"]]
    promoted = page.Gate("ersm", [gate.decisions[0] | {"verdict": "promote", "reasons": passed}])
    assert page.verdict(promoted).startswith("The champion is ersm: ersm was promoted (worst-group accuracy")
    assert page.verdict(page.Gate("erm", [])) == "The champion is erm."


def test_leaderboard_text_is_aligned():
    printed = leaderboard.leaderboard_text(rows(), [*ORDER, "unmeasured"]).splitlines()
    assert len({len(line) for line in printed}) == 1
    assert printed[0].split() == ["model", "average", "worst", "group", "gap", "closed", "BG-Gap", "mask", "AUC"]
    assert "0.721 [0.661, 0.781]" in printed[1]
    assert printed[-1].split() == ["unmeasured"] + ["unknown"] * 5


def test_leaderboard_markdown_and_records():
    lines = leaderboard.leaderboard_markdown(rows(), ORDER).splitlines()
    assert {line.count("|") for line in lines} == {7}
    first = leaderboard.leaderboard_records(rows(), ORDER)[0]
    assert first == {
        "model": "erm",
        "average": "0.892 [0.862, 0.922]",
        "worst group": "0.721 [0.661, 0.781]",
        "gap closed": "0.000 [-0.200, 0.200]",
        "BG-Gap": "0.151 [0.121, 0.181]",
        "mask AUC": "0.500 [0.490, 0.510]",
    }


def test_rows_read_back_from_json_print_the_same(tmp_path):
    store.write_json(tmp_path / "leaderboard.json", rows())
    assert "NaN" not in (tmp_path / "leaderboard.json").read_text()
    back = json.loads((tmp_path / "leaderboard.json").read_text())
    assert leaderboard.find(back, "erm", "mask_iou_top_area")["mean"] is None
    assert leaderboard.leaderboard_text(back, ORDER) == leaderboard.leaderboard_text(rows(), ORDER)
    again = plots.drawings(back, ORDER, [])
    assert [drawing.svg for drawing in again] == [drawing.svg for drawing in plots.drawings(rows(), ORDER, [])]


def test_measures_are_shown_in_one_order_and_strangers_last():
    mixed = [row("erm", metric, 0.5) for metric in ("stranger", "acc_no_fg", "token_auc", "acc_original", "average")]
    assert leaderboard.metrics(mixed) == ["average", "token_auc", "acc_original", "acc_no_fg", "stranger"]


def test_no_model_is_best_where_the_object_is_gone(tmp_path):
    bare = [row("erm", "average", 0.8), row("erm", "acc_no_fg", 0.7)]
    page.write(tmp_path / "report.html", **(example() | {"rows": bare}))
    text = (tmp_path / "report.html").read_text()
    assert "<strong>0.800</strong>" in text
    assert "<strong>0.700</strong>" not in text
    assert leaderboard.UNRANKED["acc_no_fg"] in text


def test_sheet_breaks_into_rows_with_mistakes_first(tmp_path):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    right = Picture("erm", white, np.ones((1, 1)), "bird", "land", "bird", 0.9)
    wrong = right._replace(image_HW3=black, predicted="land mammal")
    with Image.open(sheet(tmp_path / "sheet.png", [right, right, wrong], columns=2)) as page_of_three:
        assert page_of_three.size == (320, 2 * 346)
        assert page_of_three.getpixel((80, 100)) == (0, 0, 0)
        assert page_of_three.getpixel((80, 346 + 100)) == (255, 255, 255)


def test_validation_rows_stay_out_of_the_leaderboard():
    assert leaderboard.find([row("erm", "average", 0.9, part="val")], "erm", "average") is None


@pytest.mark.parametrize(
    ("mean", "low", "high", "threshold", "expected"),
    [
        (0.18, 0.12, 0.24, 0.1, "supported"),
        (0.06, 0.02, 0.12, 0.1, "partly"),
        (0.12, -0.01, 0.25, 0.1, "inconclusive"),
        (-0.05, -0.09, -0.01, 0.1, "refuted"),
        (0.02, 0.0, 0.04, 0.0, "inconclusive"),  # the end of the interval touches zero
        (-0.004, -0.009, 0.001, -0.01, "supported"),  # at most a point is lost
        (-0.004, -0.02, 0.01, -0.01, "inconclusive"),
        (-0.03, -0.05, -0.02, -0.01, "refuted"),
        (UNKNOWN, UNKNOWN, UNKNOWN, 0.0, "inconclusive"),
    ],
)
def test_verdicts(mean, low, high, threshold, expected):
    assert claims.verdict(SimpleNamespace(mean=mean, low=low, high=high), threshold) == expected


@pytest.mark.parametrize(
    ("mean", "low", "high", "bar", "expected"),
    [
        (1.05, 0.9, 1.2, verdicts.Bar(1.0, floor=0.85), "supported"),
        (1.05, 0.8, 1.3, verdicts.Bar(1.0, floor=0.85), "partly"),  # too uncertain
        (0.95, 0.9, 1.0, verdicts.Bar(1.0, floor=0.85), "partly"),  # too little
        (0.3, -0.1, 0.7, verdicts.Bar(1.0, floor=0.85), "inconclusive"),
        (0.0, -0.03, 0.01, verdicts.Bar(0.02, at_most=True), "supported"),
        (0.01, -0.03, 0.03, verdicts.Bar(0.02, at_most=True), "inconclusive"),
        (0.05, 0.03, 0.07, verdicts.Bar(0.02, at_most=True), "refuted"),
    ],
)
def test_verdicts_of_shares_and_of_little_gains(mean, low, high, bar, expected):
    assert claims.verdict(SimpleNamespace(mean=mean, low=low, high=high), *bar) == expected


def test_every_claim_is_in_the_ledger_and_says_what_it_takes():
    nothing = claims.ledger(Measured({}))
    assert [entry["name"] for entry in nothing] == [claim.name for claim in claims.CLAIMS]
    assert {entry["verdict"] for entry in nothing} == {"not run"}
    assert all(entry["needs"] for entry in nothing)
    half = {entry["name"]: entry for entry in ledger()}
    assert half["E5"]["verdict"] == "supported"
    assert half["E5 norm"]["needs"] == ["token_auc of token_norm"]
    assert set(half["Z1"]) == set(half["E5"]), "what was run and what was not have the same keys"


def test_claims_have_names_of_their_own_and_say_no_word_twice():
    assert len({claim.name for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    assert len({claim.claim for claim in claims.CLAIMS}) == len(claims.CLAIMS)
    assert len({claim[3:] for claim in claims.CLAIMS}) == len(claims.CLAIMS), (
        "two claims are decided by the same numbers"
    )


def test_every_claim_is_run_by_a_preset_and_names_measures_there_are():
    presets = [params.load(path) for path in sorted((ROOT / "params").glob("papers*.yaml"))]
    own = {
        metric for name in plugins.names("models") for metric in getattr(plugins.find("models", name), "MEANINGS", {})
    }
    for claim in claims.CLAIMS:
        models = {model for model, _, _ in needed(claim)}
        assert any(models <= set(preset.models) for preset in presets), f"no preset runs {claim.name}: {models}"
        metrics = {metric for _, metric, _ in needed(claim)}
        assert metrics <= own | set(leaderboard._TITLES), f"{claim.name} names a measure that nothing measures"


def test_a_share_is_judged_by_the_share():
    claim = Claim("Z", "Closes half.", "ours", ("zoom", "w"), ("erm", "w"), 0.5, full=("truth", "w"), floor=0.4)
    entry = claims.entry(claim, Measured({("zoom", "w"): 0.8, ("erm", "w"): 0.6, ("truth", "w"): 1.0}))
    assert entry["difference"]["mean"] == pytest.approx(0.5)
    assert entry["verdict"] == "supported"
    assert claims.evidence(entry) == (
        "w of zoom: share of the way from erm to truth: 0.500 [0.460, 0.540], claimed: at least 0.500,"
        " lower end at least 0.400"
    )


def test_of_several_models_validation_chooses_and_test_judges():
    claim = Claim("K", "Something helps.", "ours", (("a", "b"), "w"), ("erm", "w"))
    means = {("a", "w"): 0.9, ("b", "w"): 0.7, ("erm", "w"): 0.6, ("a", "w", "val"): 0.5, ("b", "w", "val"): 0.8}
    entry = claims.entry(claim, Measured(means))
    assert entry["models"] == ["b", "erm"]
    assert entry["difference"]["mean"] == pytest.approx(0.1)
    assert "b: best on validation" in claims.evidence(entry)
    del means["a", "w", "val"]
    assert claims.entry(claim, Measured(means))["needs"] == ["w of a on validation"]


def test_a_model_unknown_on_validation_is_not_chosen():
    claim = Claim("K", "Something helps.", "ours", (("a", "b"), "w"))
    means = {(m, "w", part): 0.5 for m in "ab" for part in ("test", "val")} | {("a", "w", "val"): UNKNOWN}
    assert claims.entry(claim, Measured(means))["models"] == ["b"]


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


def test_a_page_of_many_models_groups_and_folds_them(tmp_path):
    page.write(tmp_path / "report.html", **many())
    html = (tmp_path / "report.html").read_text()
    summaries = re.findall(r"<summary>(.*?)</summary>", html)
    for heading in about.FAMILIES:
        assert (
            sum(summary.startswith(f"{heading.capitalize()} (") for summary in summaries) == 3
        )  # what, plots, measures
    assert sum("pictures" in summary for summary in summaries) == 33 + 6  # of each model; strips
    assert "<details open" not in html
    assert 'class="model" open' not in html
    assert len(html) < 15e6


def test_costs_stand_beside_the_plain_networks():
    told = tables.costs(example()["about"], ORDER)
    assert list(told) == ["parameters", "multiply-adds"]  # no clock was read
    assert told["multiply-adds"]["ersm"] == (6e8, "600 M", "3.00 ×")
    alone = tables.costs({"zoom": About(about.TWO_STAGES, "none", {"macs": 1e9})}, ["zoom", "erm"])
    assert alone == {"multiply-adds": {"zoom": (1e9, "1 G", ""), "erm": (None, "unknown", "")}}, (
        "nothing to compare with"
    )


def test_a_mask_is_a_dot_for_each_token_relative_to_its_largest_weight():
    shown = picture("erm", 0)._replace(mask_hw=np.array([[0.2, 0.1], [0.0, 0.05]]))
    encoded = weights(shown).removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as found:
        assert np.asarray(found).tolist() == [[255, 128], [0, 64]]


def test_labels_do_not_overlap():
    labels = plots.spread([0.90, 0.91, 0.70, 0.905], gap=0.05)
    assert np.diff(np.sort(labels)).min() > 0.05 - 1e-12
    assert labels[2] == 0.70  # nobody near: it stays
    assert labels[[0, 3, 1]] == pytest.approx([0.855, 0.905, 0.955])  # in their order, around their mean


def test_plots_say_their_numbers_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {drawing.name: drawing for drawing in plots.drawings(rows(), ORDER, trained())}
    assert list(drawn) == ["average-worst", "gap", "variants", "masks", "deletion", "training"]
    assert "oracle_mask, share: 1.000 [0.800, 1.200]; erm_unbiased" in drawn["gap"].alt, "the most at the top"
    assert "erm: average 0.892 [0.862, 0.922], worst group 0.721 [0.661, 0.781]" in drawn["average-worst"].alt
    for model in ORDER:
        assert all(f">{model}<" in drawing.svg for drawing in drawn.values())


def test_interval_that_is_unknown_is_drawn_without_bars():
    bare = [row("erm", metric, 0.8, low=None, high=None) for metric in ("average", "worst_group")]
    (drawing,) = plots.drawings(bare, ["erm"], [])
    assert "0.800 [unknown]" in drawing.alt


def test_dimming_follows_the_tokens():
    image = np.full((4, 4, 3), 200, np.uint8)
    bright = dimmed(image, np.array([[0.2, 0.1], [0.0, 0.2]]))[..., 0]
    assert bright[:2, :2].tolist() == [[200, 200]] * 2
    assert bright[0, 2] == round(200 * (0.12 + 0.88 / 2))
    assert bright[2, 0] == 24
    assert (dimmed(image, np.full((2, 2), 0.3)) == image).all()
    assert (dimmed(image, np.zeros((2, 2))) == 24).all()


# Curves, strips, failures


def test_a_curve_is_drawn_whatever_it_measures_and_other_scores_are_not():
    seeds = [curve("eps", (8, 1), [0.2, 0.8]), curve("eps", (8, 1), [0.4, UNKNOWN])]
    (line,) = curves.lines("erm", "robust_pgd", seeds)
    assert (line.name, line.x, line.mean, line.low, line.high) == (
        "eps", [1, 8], [0.8, pytest.approx(0.3)], [0.8, 0.2], [0.8, 0.4],
    )  # fmt: skip
    assert [line.name for line in curves.lines("erm", "deletion_own", [curve("", (0, 0.5, 1), [1, 0.5, 0])])] == [""]
    for name, numbers in (("background", range(4)), ("only", (3,)), ("bird on land at", ("sea", "dawn"))):
        assert curves.lines("erm", "flip_rate", [curve(name, numbers, [0.5] * len(numbers))]) == []
    worst = curve("eps", (1, 2), [0.5, 0.6])._replace(combine="worst")
    assert curves.lines("erm", "worst_group", [worst]) == []


def test_curves_of_a_kind_share_a_drawing_that_says_where_they_start_and_end():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {one.name: one for one in plots.drawings(rows(), ORDER, [], known(), lines(ORDER))}
    made = [name for name in drawn if name.startswith("curve")]
    assert made == ["curve-occlusion", "curve-corruption", "curve-robust", "curve-deletion"]
    assert "accuracy under attack, PGD, erm: 0.892 at 1, 0.112 at 8" in drawn["curve-robust"].alt
    assert drawn["curve-occlusion"].alt.count("erm:") == 3
    assert not plots.drawings([], ["erm"], [], None, curves.lines("erm", "new_one", [curve("", (0, 1), [UNKNOWN] * 2)]))


def test_the_two_ends_stand_in_every_plot_of_models():
    words = {word: About(about.ONE_STAGE, "none") for word in [f"word_{n}" for n in range(20)]}
    told = {"erm": About(about.BASELINES, "none"), **words}
    ends = {"oracle_mask": about.TOP, "background_only": about.BOTTOM}
    told |= {word: About(about.CONTROLS, "none", end=end) for word, end in ends.items()}
    shown = about.panels(list(told), told)
    assert [(heading, number) for heading, number, _ in shown][1:4] == [(about.ONE_STAGE, n) for n in range(3)]
    assert all(models[0] == "erm" and models[-2:] == list(ends) for _, _, models in shown)
    assert all(len(models) <= about.FEW + 3 for _, _, models in shown)
    assert {model for _, _, models in shown for model in models} == set(told)


def test_strips_show_the_objects_whose_answer_the_background_changes_one_of_each_label_first():
    answers = {  # what two models say of each example: as it is, and on three other backgrounds
        "steady": ["bird", "bird", "bird", "bird"],
        "torn": ["bird", "land mammal", "land mammal", "bird"],
        "again": ["bird", "land mammal", "land mammal", "bird"],  # the same object as torn
        "blind": ["bird", "bird", "bird", "land mammal"],  # where the object is gone: does not count
        "mammal": ["land mammal", "land mammal", "bird", "land mammal"],
    }
    variants = ["original", "mixed_rand", "mixed_next", "no_fg"]
    said = pd.DataFrame(
        [
            {"model": model, "example_id": one, "variant": variant, "predicted": answer}
            | {"label": "land mammal" if one == "mammal" else "bird"}
            for model in ("erm", "ersm")
            for one, row in answers.items()
            for variant, answer in zip(variants, row, strict=True)
        ]
    )
    objects = pd.Series({one: "torn" if one == "again" else one for one in answers})
    assert strips.choose(said, objects, 4) == ["again", "mammal", "blind", "steady"]
    assert strips.choose(said.sample(frac=1, random_state=0), objects, 4) == ["again", "mammal", "blind", "steady"]


def test_a_strip_says_what_is_held_and_is_a_picture_of_its_own():
    shown = strip(ORDER)
    assert [shown.held(model) for model in ("erm", "inverted_mask")] == ["4 of 4", "1 of 4"]
    ((name, svg),) = strips.files([shown])
    assert name == "strip-0-test-00000"
    root = ElementTree.fromstring(svg)
    images = [one for one in root if one.tag.endswith("image")]
    assert len(images) == 8
    assert all(one.get("href").startswith("data:image/webp") for one in images)
    said = [one.text for one in root if one.tag.endswith("text")]
    assert said.count("✗ land mammal 0.70") == 2 * 3
    assert said.count("○ bird 0.90") == 3 * len(ORDER)
    assert strips.files([shown]) == [(name, svg)]


def test_the_page_says_what_each_measure_means_and_what_it_could_reach(html):
    measures = {one["metric"]: one for one in [tables.measure(rows(), ORDER, m, {}) for m in ("average", "bg_gap")]}
    assert (measures["average"]["ideal"], measures["bg_gap"]["ideal"]) == ("1", "0")
    assert (measures["average"]["leaders"], measures["bg_gap"]["leaders"]) == (["oracle_mask"], ["oracle_mask"])
    assert plugins.find("robustness", "worst_group").MEANING in html
    assert html.count("▲ upper end") == html.count("▼ lower end") > 5


def test_failures_of_a_model_that_never_fails_are_unknown_not_nan(html):
    assert "No mistake." in html
    assert re.search(r"0 <small>of 400</small></td>\s*<td data-value=\"\">unknown", html)
