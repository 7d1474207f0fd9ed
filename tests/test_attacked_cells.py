"""Whole cells under attack: from pixels through crop, mask and backbone to answers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import world as worlds
import yaml
from torch import nn

from fieldmark.core import layout, store
from fieldmark.core.errors import FieldmarkError
from fieldmark.training.predict import predict
from stages import evaluate
from stages._attack import Attacker
from stages._cell import View, opened


def attacker(world: Path, model: str) -> tuple[View, Attacker, pd.DataFrame, nn.Module]:
    params = worlds.load(world)
    view, module = opened(params, world, model, 0)
    return view, Attacker(view, module, params.embed.batch), view.part("test")[:20], module


@pytest.mark.parametrize("model", ["erm", "ersm", "oracle_mask", "inverted_mask", "random_mask"])
def test_an_untouched_picture_gets_the_answer_it_always_gets(world, model):
    view, attack, some, module = attacker(world, model)
    said = predict(module, view.in_order(some), device=view.device)
    found = attack(some, eps=0)
    exact = 1e-6 if view.device == "cpu" else 5e-4  # a GPU embeds in half precision, and attacks in single
    np.testing.assert_allclose(found.probabilities_NK, said.probabilities_NK, atol=exact)
    np.testing.assert_allclose(found.masks_Nhw, said.masks_Nhw, atol=exact)


def losses(view: View, some: pd.DataFrame, found) -> np.ndarray:
    right_N = np.searchsorted(view.classes, some["label"].to_numpy(str))
    return -np.log(found.probabilities_NK[np.arange(len(some)), right_N])


@pytest.mark.parametrize("model", ["erm", "ersm", "zoom_norm"])
def test_an_attack_on_pixels_comes_through_the_backbone(world, model):
    view, attack, some, _ = attacker(world, model)
    clean_N, near_N, far_N = (losses(view, some, attack(some, eps=eps / 255, steps=5)) for eps in (0, 2, 16))
    assert (near_N >= clean_N - 1e-6).all()
    assert clean_N.mean() < near_N.mean() < far_N.mean()


def test_who_does_not_see_the_background_is_not_fooled_by_it(world):
    view, attack, some, _ = attacker(world, "oracle_mask")
    clean, behind, on = (
        losses(view, some, attack(some, eps=eps, region=region, steps=5))
        for eps, region in ((0, "all"), (0.1, "background"), (0.1, "object"))
    )
    assert np.array_equal(clean, behind)
    assert on.mean() > clean.mean()


def test_what_is_asked_for_twice_is_done_once_and_hangs_on_no_other_row(world):
    _, attack, some, _ = attacker(world, "ersm")
    first = attack(some, eps=0.01, steps=3)
    part = some.iloc[[7, 2]]
    np.testing.assert_array_equal(attack(part, eps=0.01, steps=3).masks_Nhw, first.masks_Nhw[[7, 2]])
    _, fresh, _, _ = attacker(world, "ersm")
    np.testing.assert_allclose(fresh(part, eps=0.01, steps=3).masks_Nhw, first.masks_Nhw[[7, 2]], atol=1e-5)


def test_a_transferred_attack_follows_a_network_that_looks_everywhere(world):
    view, attack, some, _ = attacker(world, "ersm")
    clean_N, moved_N = (losses(view, some, attack(some, eps=eps, kind="transfer", steps=5)) for eps in (0, 0.05))
    assert moved_N.mean() > clean_N.mean()


@pytest.mark.parametrize("model", ["finetune", "ifam", "anchor_exit"])
def test_a_model_on_pixels_is_attacked_too(world, tmp_path, model):
    root = worlds.copy(world, tmp_path / "copy")
    worlds.write_params(root, models=worlds.models() | {model: {}})
    params = worlds.load(root)
    view = View(params, root, model, 0)
    torch.manual_seed(0)
    module, some = view.build().to(view.device).eval(), view.part("test")[:6]
    attack, said = Attacker(view, module, params.embed.batch), predict(module, view.in_order(some), device=view.device)
    np.testing.assert_allclose(attack(some, eps=0).probabilities_NK, said.probabilities_NK, atol=1e-6)
    clean_N, *moved = (
        losses(view, some, attack(some, eps=eps, kind=kind, steps=3))
        for eps, kind in ((0, "pgd"), (0.05, "pgd"), (0.05, "straight_through"), (0.05, "transfer"))
    )
    assert all((one_N >= clean_N - 1e-6).all() for one_N in moved)
    if model == "finetune":  # untrained, the others may hide every pixel, or pick other patches without a gradient
        assert moved[0].mean() > clean_N.mean()


def test_a_stage_measures_under_attack_twice_alike(world, tmp_path):
    root = worlds.copy(world, tmp_path / "copy")
    small = yaml.safe_load(worlds.SMOKE.read_text())["evaluate"]
    tests = {
        "worst_group": {},
        "attack": {"eps": [1, 4], "at": 1, "steps": 2, "examples": 8},
        "attention_drift": {"at": 1, "steps": 2, "examples": 8},
        "gradient_masking": {"at": 1, "steps": 2, "examples": 8},
    }
    worlds.write_params(root, evaluate=small | {"tests": tests, "validation": ["worst_group"]})
    params, path = worlds.load(root), layout.evaluated(root, "zoom_norm", 0)
    told = []
    for _ in range(2):
        evaluate.main(params, root, "zoom_norm", 0)
        told.append((path.read_bytes(), path.with_suffix(".parquet").read_bytes()))
    assert told[0] == told[1]
    found = store.read_json(path)["test"]
    assert found["robust_pgd"]["counts"] == {"eps:0": 8, "eps:1": 8, "eps:4": 8}
    assert set(found["robust_worst_group"]["counts"].values()) == {2}
    assert all(0 <= facts["value"] <= 1 for facts in found.values())


def test_an_unknown_attack_lists_those_there_are(world):
    _, attack, some, _ = attacker(world, "erm")
    with pytest.raises(FieldmarkError, match="no attack 'pdg' on 'all': use one of pgd, apgd"):
        attack(some, eps=0.1, kind="pdg")
    with pytest.raises(FieldmarkError, match="on 'sky'"):
        attack(some, eps=0.1, region="sky")
