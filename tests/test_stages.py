"""The stages together, on drawn shapes: what they write, that they write it twice alike, and how they refuse."""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import world as worlds
import yaml
from tracked_project import ROOT

from fieldmark.core import layout, store, tables
from fieldmark.core.errors import TRY_AGAIN, FieldmarkError
from fieldmark.splits import spurious
from stages import evaluate, explain, report, split, train
from stages._gate import decided, judge
from stages._results import Results, about

MODELS = ["erm", "erm_unbiased", "ersm", "zoom_norm", "oracle_mask", "random_mask", "inverted_mask",
          "background_only"]  # fmt: skip
TEST = {
    "average", "worst_group", "acc_trainprior", "acc_groupmean", "alignment_gap", "bg_gap", "corruption_accuracy",
    "acc_original", "acc_only_fg", "acc_no_fg", "acc_only_bg_box", "acc_only_bg_tiled", "acc_mixed_same",
    "acc_mixed_rand", "acc_mixed_next", "mask_iou_top_area", "token_auc", "energy_pointing", "deletion_own",
    "deletion_magnitude", "deletion_cam", "deletion_random", "deletion_weighted_own", "deletion_weighted_magnitude",
    "deletion_weighted_cam", "deletion_weighted_random", "mask_area", "active_fraction", "mask_entropy",
    "gap_closed", "gap_closed_here", "flip_rate", "ece_15_equal_width", "brier", "nll", "aurc",
    "risk_at_coverage:0.8", "rank_accuracy", "pointing_game", "leak", "mask_stability_iou",
    "mask_stability_cosine", "mono_background_weight",
}  # fmt: skip
OF_THE_MASK = ("mask", "active", "token", "energy", "rank", "pointing", "leak")  # what costs no pass of the backbone
VALIDATION = {"average", "worst_group", "bg_gap", "token_auc"}


def leaderboard(root: Path) -> list[dict[str, Any]]:
    """Read the leaderboard as strict JSON: NaN and Infinity are no part of it."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    rows: list[dict[str, Any]] = json.loads(
        (layout.report(root) / "leaderboard.json").read_text(), parse_constant=refuse
    )
    return rows


def documented(name: str) -> set[str]:
    """Return the keys that data/README.md gives to the rows of a table."""
    page = (ROOT / "data" / "README.md").read_text().partition(f"## `{name}`")[2].partition("\n## ")[0]
    return {key for line in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for key in re.findall(r"`(\w+)`", line)}


def row(root: Path, model: str, metric: str, part: str = "test") -> dict[str, Any]:
    (found,) = [one for one in leaderboard(root) if (one["model"], one["metric"], one["part"]) == (model, metric, part)]
    return found


def observations(root: Path, model: str, metric: str) -> pd.DataFrame:
    seeds = [layout.explained(root, model, seed).with_suffix(".parquet") for seed in (0, 1)]
    table = pd.concat([store.read_table(path) for path in seeds])
    return table[table["metric"] == metric]


# What they write


def test_the_leaderboard_has_the_documented_keys_for_every_model_and_metric(world: Path) -> None:
    keys = documented("report/leaderboard.json")
    rows = leaderboard(world)
    assert keys == {
        "model", "metric", "part", "mean", "low", "high", "n", "seeds", "chance", "higher_is_better"
    }  # fmt: skip
    assert all(set(one) == keys for one in rows)
    wanted = [(metric, "test") for metric in TEST] + [(metric, "val") for metric in VALIDATION]
    expected = sorted(
        (model, *place)
        for model in MODELS
        for place in wanted
        if not (model == "zoom_norm" and place[0].startswith(("deletion", "leak", "mono")))  # it looks again
    )
    assert sorted((one["model"], one["metric"], one["part"]) for one in rows) == expected
    sure = [one for one in rows if not one["metric"].startswith("gap_closed")]  # a share of no gap is unknown
    assert all(one["seeds"] == 2 and one["low"] <= one["mean"] <= one["high"] for one in sure)


def test_every_model_is_tested_against_the_baseline_as_documented(world: Path) -> None:
    keys = documented("report/comparisons.json")
    rows = store.read_json(layout.report(world) / "comparisons.json")
    assert [set(one) for one in rows] == [keys] * len(rows)
    metrics = ("average", "worst_group", "bg_gap", "token_auc")
    assert [(one["metric"], one["model"]) for one in rows] == [
        (name, model) for name in metrics for model in MODELS[1:]
    ]
    for one in rows:
        expected = row(world, one["model"], one["metric"])["mean"] - row(world, "erm", one["metric"])["mean"]
        assert one["mean"] == pytest.approx(expected)
        assert one["p"] <= one["p_holm"] <= 1
        assert (one["effect"] is None) == (one["metric"] in ("bg_gap", "token_auc"))


def test_the_gate_says_what_it_found_of_each_candidate(world: Path, tmp_path: Path) -> None:
    params = worlds.load(world)
    results = Results(params, world)
    (judged,) = decided(results, world).decisions
    assert [reason["check"] for reason in judged["reasons"][2:]] == [
        "worst-group accuracy on validation, challenger minus champion",
        "BG-Gap on validation",
        "mask AUC on validation",
    ]
    assert judged["reasons"][4]["found"]["mean"] == row(world, "ersm", "token_auc", "val")["mean"]
    assert judge(results, world, "erm").reasons[4]["found"] == "claims no mask"
    opposite = judge(results, world, "inverted_mask")
    assert (opposite.verdict, opposite.reasons[4]["found"]["high"]) == ("keep", 0)  # it looks past every object
    limited = params.model_copy(update={"register_": params.register_.model_copy(update={"ceiling": {"nothing": 0.1}})})
    with pytest.raises(FieldmarkError, match="limit for 'nothing', which was not measured on validation"):
        judge(Results(limited, world), world, "ersm")


def test_counts_are_those_of_the_split(world: Path) -> None:
    assert [row(world, "erm", "average", part)["n"] for part in ("test", "val")] == [80, 80]  # two seeds of 40
    assert row(world, "erm", "bg_gap")["n"] == 160  # each example on two backgrounds


def test_the_unknown_is_null(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "copy")
    for seed in (0, 1):
        path = layout.explained(root, "erm", seed).with_suffix(".parquet")
        table = store.read_table(path)
        table.loc[table["metric"] == "token_auc", "value"] = np.nan
        store.write_table(path, table)
    params = worlds.load(root)
    report.main(params.model_copy(update={"models": {name: params.models[name] for name in ("erm", "ersm")}}), root)
    unknown = row(root, "erm", "token_auc")
    assert [unknown[key] for key in ("mean", "low", "high", "n", "chance")] == [None, None, None, 0, 0.5]
    assert row(root, "ersm", "token_auc") == row(world, "ersm", "token_auc")


def test_speeds_are_those_of_the_same_network(world: Path, tmp_path: Path) -> None:
    root, params = worlds.copy(world, tmp_path / "copy"), worlds.load(world)
    counted = store.read_json(layout.trained(root, "erm", 0) / "cost.json")
    assert about(params, root)["erm"].cost == counted, "the kept speeds are of another backbone"
    timed = {**counted, "answering": 100.0, "learning": 200.0}
    store.write_json(root / "bench" / "cost.json", {"models": {"erm": timed}})
    assert about(params, root)["erm"].cost == timed and "answering" not in about(params, root)["ersm"].cost


def test_the_page_names_every_model_and_loads_nothing(world: Path) -> None:
    page = (layout.report(world) / "report.html").read_text()
    assert all(model in page for model in MODELS)
    assert "in the worst group would be found with 80 % probability" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)


def test_configs_build_their_models_again(world: Path) -> None:
    for model in MODELS:
        config = store.read_json(layout.trained(world, model, 1) / "config.json")
        plugin = {"zoom_norm": "two_stage", "background_only": "inverted_mask"}.get(model, model)
        assert (config["model"], config["seed"], config["classes"]) == (plugin, 1, ["disc", "square"])
        assert len(store.read_json(layout.trained(world, model, 1) / "history.json")) == 5


# What the controls must give


def test_an_oracle_on_masked_pixels_does_not_know_the_background(world: Path) -> None:
    gap = row(world, "oracle_mask", "bg_gap")
    assert (gap["mean"], gap["low"], gap["high"]) == (0, 0, 0)
    said = store.read_table(layout.evaluated(world, "oracle_mask", 0).with_suffix(".predictions.parquet"))
    sure = said.pivot(index="example_id", columns="variant", values="probability")
    for variant in ("only_fg", "mixed_same", "mixed_rand", "mixed_next"):
        assert sure[variant].equals(sure["original"])


def test_masks_that_follow_from_the_truth_score_what_follows_from_it(world: Path) -> None:
    auc = {model: row(world, model, "token_auc")["mean"] for model in MODELS}
    assert (auc["erm"], auc["oracle_mask"], auc["inverted_mask"]) == (0.5, 1, 0)  # uniform, truth, its opposite
    low, high = row(world, "random_mask", "token_auc")["low"], row(world, "random_mask", "token_auc")["high"]
    assert 0.4 < low < high < 0.6
    for metric in ("energy_pointing", "mask_iou_top_area"):  # a mask that is the same everywhere is at chance
        assert row(world, "erm", metric)["mean"] == pytest.approx(row(world, "erm", metric)["chance"])
        assert row(world, "inverted_mask", metric)["mean"] < row(world, "random_mask", metric)["low"]


def test_the_energy_on_the_object_is_that_of_its_token_shares(world: Path) -> None:
    masks_Nhw = np.load(layout.explained(world, "oracle_mask", 0).with_suffix(".masks.npy")).astype(np.float64)
    flat_Nn = masks_Nhw.reshape(len(masks_Nhw), -1)  # each token's share of object: s
    truth_N, opposite_N = ((weight_Nn * flat_Nn).sum(1) / weight_Nn.sum(1) for weight_Nn in (flat_Nn, 1 - flat_Nn))
    for model, expected_N in {"oracle_mask": truth_N, "inverted_mask": opposite_N}.items():
        found = observations(world, model, "energy_pointing")["value"].to_numpy()[: len(flat_Nn)]
        np.testing.assert_allclose(found, expected_N, atol=2e-3)  # masks are kept in half precision
    shuffled = np.load(layout.explained(world, "random_mask", 0).with_suffix(".masks.npy")).astype(np.float64)
    np.testing.assert_array_equal(np.sort(shuffled.reshape(flat_Nn.shape)), np.sort(flat_Nn))  # same area, other places


# Twice the same bytes


def test_measuring_twice_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "copy")
    of_one_seed = [path for stage in ("evaluated", "explained") for path in (root / "data" / stage).glob("*-0.*")]
    for path in [*of_one_seed, *(root / "data" / "report").rglob("*.*")]:
        path.unlink()
    params = worlds.load(root)
    for model in MODELS:
        evaluate.main(params, root, model, 0)
        explain.main(params, root, model, 0)
    report.main(params, root)
    assert worlds.files(root / "data") == worlds.files(world / "data")


def test_a_model_on_pixels_is_the_same_with_one_loader_or_two(world: Path, tmp_path: Path) -> None:
    root, cells = worlds.copy(world, tmp_path / "copy"), []
    small = yaml.safe_load(worlds.SMOKE.read_text())["train"]
    for workers in (1, 2):
        changes = {"train": small | {"epochs": 2, "workers": workers}, "models": worlds.models() | {"finetune": {}}}
        worlds.write_params(root, **changes)
        params = worlds.load(root)
        train.main(params, root, "finetune", 0)
        cells.append(worlds.files(layout.trained(root, "finetune", 0)))
    assert cells[0] == cells[1]
    evaluate.main(params, root, "finetune", 0)
    explain.main(params, root, "finetune", 0)
    told = store.read_json(layout.explained(root, "finetune", 0))["test"]
    assert set(told) == {name for name in TEST if name.startswith(OF_THE_MASK)}


# How they refuse: one sentence, exit code 1, and everything left as it was


@pytest.fixture
def copied(world: Path, tmp_path: Path) -> Path:
    """Return a project to spoil."""
    return worlds.copy(world, tmp_path / "copy")


def test_a_truncated_image_is_named(copied: Path) -> None:
    path = copied / "data" / "raw" / "shapes" / "index.parquet"
    index = store.read_table(path)
    index.loc[index["source_id"] == "cutout/disc/red-000", "bytes"] //= 2
    store.write_table(path, index)
    before = worlds.files(copied)
    assert "cutout/disc/red-000" in worlds.refused(worlds.start(copied, "stages.validate"))
    assert worlds.files(copied) == before


def test_a_correlation_that_cannot_be_reached_is_named(copied: Path) -> None:
    wanted = yaml.safe_load(worlds.SMOKE.read_text())["split"]
    worlds.write_params(copied, split=wanted | {"correlation": 0.96})
    before = worlds.files(copied)
    said = worlds.refused(worlds.start(copied, "stages.split", 0))
    assert "a correlation of 0.96 would put 38.4 of them on their own background" in said
    assert worlds.files(copied) == before


def test_an_unknown_option_of_a_model_lists_the_right_ones(copied: Path) -> None:
    worlds.write_params(copied, models={"erm": {}, "ersm": {"options": {"lamda": 1}}})
    before = worlds.files(copied / "data")
    said = worlds.refused(worlds.start(copied, "stages.train", "ersm", 0))
    assert "has no option lamda: it takes lam, gam, temperature" in said
    assert worlds.files(copied / "data") == before


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        ("fg_source", "no cut-out or photo is in two of training, validation and test"),
        ("crop_x", "no pixel of a scene is in two of training, validation and test"),
    ],
)
def test_a_recipe_that_leaks_is_refused(
    copied: Path, monkeypatch: pytest.MonkeyPatch, column: str, sentence: str
) -> None:
    honest = spurious.assign

    def leaky(index: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
        """Show one example of the test part what training has seen."""
        recipes = honest(index, **wanted)
        seen = recipes[recipes["part"] == "train"].iloc[0]
        alike = (recipes[["part", "label", "background"]] == ["test", seen["label"], seen["background"]]).all(axis=1)
        leak = {"fg_source": ["fg_source"], "crop_x": ["bg_source", "crop_x", "crop_y", "crop_side"]}[column]
        recipes.loc[alike.idxmax(), leak] = seen[leak]
        return tables.conform(recipes, tables.RECIPE)

    monkeypatch.setattr(spurious, "assign", leaky)
    before = worlds.files(copied)
    with pytest.raises(FieldmarkError, match=rf"the split of seed 0 may not pass: .* not so: {sentence} \(\d+: test-"):
        split.main(worlds.load(copied), copied, 0)
    assert worlds.files(copied) == before


def test_mlflow_locked_or_silent_stops_training_with_one_sentence(copied: Path) -> None:
    before = worlds.files(copied)
    holder = sqlite3.connect(copied / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    nobody = "http://127.0.0.1:9"
    with (  # both wait for a while: side by side
        worlds.start(copied, "stages.train", "erm", 0) as locked,
        worlds.start(copied, "stages.train", "erm", 1, MLFLOW_TRACKING_URI=nobody) as silent,
    ):
        assert "(database is locked): end the program that holds it" in worlds.refused(locked, TRY_AGAIN)
        assert f"MLflow at {nobody} does not answer" in worlds.refused(silent, TRY_AGAIN)
    holder.close()
    assert worlds.files(copied) == before
