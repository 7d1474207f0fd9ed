"""Attacks: optima derived by hand, what may change and what may not, and what reveals that an attack is blind."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
import world as worlds
import yaml
from torch import Tensor, nn

from fieldmark.core import layout, store
from fieldmark.core.contracts import Attacked, Backbone
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.apgd import apgd
from fieldmark.layers.attack import Target, cross_entropy, dlr, margin, pgd
from fieldmark.layers.attacks import KINDS, harder
from fieldmark.layers.eye import Eye, blurring, cut, painted
from fieldmark.layers.straight_through import straight_through
from fieldmark.loading.painting import paint_over
from fieldmark.robustness import attack as curves
from fieldmark.robustness import gradient_masking
from fieldmark.robustness._attacks import area, drawn
from fieldmark.training.predict import predict
from stages import evaluate
from stages._attack import Attacker
from stages._cell import View, opened

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
ATTACKS = pytest.mark.parametrize("find", [pgd, apgd])


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


def pictures(device: str = "cpu", count: int = 8, side: int = 6) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.manual_seed(1)).to(device)


def linear(device: str = "cpu", classes: int = 2, side: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).requires_grad_(False).to(device)


def bent(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    hidden = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, classes))
    return hidden.requires_grad_(False)


def aim(net, x_BCHW: Tensor, **more) -> Target:
    labels_B = net(x_BCHW).argmax(1)
    return Target(net, x_BCHW, labels_B, torch.arange(len(x_BCHW), device=x_BCHW.device), **more)


# What can be derived by hand


@ATTACKS
def test_a_linear_model_falls_at_its_optimum(find, device):
    net, x_BCHW = linear(device), pictures(device)
    target = aim(net, x_BCHW)
    weight_KD = net[1].weight
    way_B = (weight_KD[1] - weight_KD[0])[None] * (1 - 2 * target.labels_B)[:, None]  # towards the other class
    optimum = (x_BCHW + 0.1 * way_B.sign().view_as(x_BCHW)).clamp(0, 1)
    found = find(target, eps=0.1)
    torch.testing.assert_close(found.x_BCHW, optimum, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.margin_B, margin(net(optimum), target.labels_B))


@ATTACKS
def test_pixels_outside_the_region_stay_to_the_last_bit(find, device):
    x_BCHW = pictures(device)
    region_B1HW = torch.zeros(8, 1, 6, 6, device=device)
    region_B1HW[:, :, :2] = 1
    found = find(aim(linear(device), x_BCHW, region_B1HW=region_B1HW), eps=0.1, restarts=3)
    assert torch.equal(found.x_BCHW[:, :, 2:], x_BCHW[:, :, 2:])
    assert (found.x_BCHW[:, :, :2] != x_BCHW[:, :, :2]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_leaves_its_ball_or_the_range(kind, device):
    x_BCHW = pictures(device).round()  # black and white: half of the ball is out of range
    net = linear(device)
    found = harder(kind, aim(net, x_BCHW, through=net), eps=0.05, steps=5, restarts=2)
    assert found.x_BCHW.min() >= 0 and found.x_BCHW.max() <= 1
    assert (found.x_BCHW - x_BCHW).abs().max() <= 0.05 + 1e-7
    untouched = harder(kind, aim(net, x_BCHW, through=net), eps=0, steps=5, restarts=2)
    assert torch.equal(untouched.x_BCHW, x_BCHW)


def test_a_threshold_falls_exactly_when_the_distance_reaches_it():
    """The answer is the sign of (pixel - 1/2); pixels are 1/8, 1/4 and 1/2 above it."""
    x_B111 = torch.tensor([0.625, 0.75, 1.0]).view(3, 1, 1, 1)

    def net(x: Tensor) -> Tensor:
        above_B = x.flatten() - 0.5
        return torch.stack([above_B, -above_B], 1)

    for find in (pgd, apgd):
        for eps, fooled in {0.1: [0, 0, 0], 0.2: [1, 0, 0], 0.3: [1, 1, 0], 0.6: [1, 1, 1]}.items():
            assert (find(aim(net, x_B111), eps=eps).margin_B > 0).int().tolist() == fooled


def test_losses_by_hand():
    logits_BK, labels_B = torch.tensor([[3.0, 1.0, 0.0, -1.0]]), torch.tensor([1])
    assert margin(logits_BK, labels_B).item() == 2
    assert dlr(logits_BK, labels_B).item() == pytest.approx(2 / 3)
    assert dlr(logits_BK[:, :2], labels_B).item() == 2
    assert cross_entropy(logits_BK, labels_B).item() == pytest.approx(-logits_BK.log_softmax(1)[0, 1].item())


# More of anything never finds less


@ATTACKS
def test_more_restarts_never_find_less(find):
    margins = [find(aim(bent(), pictures()), eps=0.02, steps=4, restarts=count).margin_B for count in (1, 2, 4)]
    assert all((after >= before).all() for before, after in zip(margins, margins[1:], strict=False))


def test_more_steps_never_find_less():
    margins = [pgd(aim(bent(), pictures()), eps=0.02, steps=count, restarts=2).margin_B for count in (0, 1, 3, 10, 30)]
    assert all((after >= before).all() for before, after in zip(margins, margins[1:], strict=False))


def test_an_attack_is_no_weaker_than_the_picture_as_it_is():
    target = aim(bent(), pictures())
    clean_B = margin(target.answers(target.x_BCHW), target.labels_B)
    for kind in ("pgd", "apgd", "one_step", "random"):
        assert (harder(kind, target, eps=0.01, steps=3, restarts=1).margin_B >= clean_B).all()


@ATTACKS
def test_what_is_found_hangs_on_no_other_example(find):
    target = aim(bent(), pictures())
    whole = find(target, eps=0.02, restarts=3).x_BCHW
    order = torch.tensor([5, 0, 3])
    some = Target(target.answers, target.x_BCHW[order], target.labels_B[order], target.key_B[order])
    torch.testing.assert_close(find(some, eps=0.02, restarts=3).x_BCHW, whole[order], rtol=0, atol=1e-6)


def test_nothing_waits_for_the_device():
    """On the meta device no value can be read."""
    net, x_BCHW = linear().to("meta"), torch.empty(2, 3, 6, 6, device="meta")
    label_B = torch.empty(2, dtype=torch.int64, device="meta")
    for find in (pgd, apgd):
        assert find(Target(net, x_BCHW, label_B, label_B), eps=0.1, restarts=2).x_BCHW.shape == x_BCHW.shape


# Masked gradients are found out


def recipes(count: int = 12) -> pd.DataFrame:
    return pd.DataFrame({"example_id": [f"e{n}" for n in range(count)], "label": "bird", "background": "water"}).assign(
        group="bird on water"
    )


def attack_on(net, through):
    """Return an attack on one-pixel pictures, a step of 255 right of 1/2."""

    def call(table, *, eps, kind="pgd", steps=10, restarts=1, region="all"):
        x_B111 = torch.full((len(table), 1, 1, 1), 0.5 + 0.1 / 255)
        key_B = torch.arange(len(table))
        follow = through if kind in ("transfer", "straight_through") else None
        target = Target(net, x_B111, torch.zeros(len(table), dtype=torch.int64), key_B, None, follow)
        found = harder(kind, target, eps=eps, steps=steps, restarts=restarts)
        return Attacked(net(found.x_BCHW).softmax(1).detach().numpy(), np.ones((len(table), 1, 1), np.float32))

    return call


def two(above_B: Tensor) -> Tensor:
    return torch.stack([above_B, -above_B], 1)


def soft(x: Tensor) -> Tensor:
    return two(x.flatten() - 0.5)


def hard(x: Tensor) -> Tensor:
    return two((x.flatten() > 0.5).float() - 0.5)


def hard_straight_through(x: Tensor) -> Tensor:
    return two(straight_through(x.flatten()) - 0.5)


@pytest.mark.parametrize(("net", "blind"), [(soft, 0), (hard, 1), (hard_straight_through, 0)])
def test_a_decision_without_a_gradient_is_found_out(net, blind):
    attack, classes = attack_on(net, soft), ("bird", "mammal")
    told = curves.score(attack, recipes(), classes=classes, pairs={"bird": "water", "mammal": "land"}, eps=(1,), at=1)
    assert told["robust_pgd"].means() == {"eps:0": 1, "eps:1": blind}  # as if it were robust
    found = gradient_masking.score(attack, recipes(), classes=classes, at=1)
    assert {name: score.value for name, score in found.items()} == {
        "masking_one_step": 0, "masking_distance": 0, "masking_random": blind, "masking_transfer": blind,
        "masking_straight_through": blind,
    }  # fmt: skip


# What the tests of the room share


def test_a_curve_is_the_mean_distance_up_to_which_examples_stay_right():
    one, zero = np.ones(1), np.zeros(1)
    assert area({0: one, 2: one, 4: zero}, np.arange(1), 0.5).value == (2 + 1) / 4
    assert area({0: one, 2: zero, 4: zero}, np.arange(1), 0.5).means() == {"eps:0": 1, "eps:2": 0, "eps:4": 0}


def test_examples_are_drawn_evenly_whatever_their_order():
    table = pd.DataFrame({"example_id": [f"e{n}" for n in range(40)], "group": ["a"] * 30 + ["b"] * 6 + ["c"] * 4})
    names = table["example_id"].to_numpy()[drawn(table, 12)]
    assert table.set_index("example_id").loc[names, "group"].value_counts().to_dict() == {"a": 4, "b": 4, "c": 4}
    mixed = table.sample(frac=1, random_state=0)
    assert set(mixed["example_id"].to_numpy()[drawn(mixed, 12)]) == set(names)
    assert set(names) < set(table["example_id"].to_numpy()[drawn(table, 20)])


# From pixels to what a model is given


def test_a_crop_that_lies_on_whole_pixels_is_those_pixels():
    x_BCSS = pictures(side=16)
    box_B3 = torch.tensor([[0.5, 0.25, 0.5]]).expand(8, 3)
    torch.testing.assert_close(cut(x_BCSS, box_B3, 8), x_BCSS[:, :, :8, 4:12], rtol=0, atol=1e-6)
    whole_B3 = torch.tensor([[0.5, 0.5, 1.0]]).expand(8, 3)
    torch.testing.assert_close(cut(x_BCSS, whole_B3, 8), nn.functional.avg_pool2d(x_BCSS, 2), rtol=0, atol=1e-6)


def test_the_aim_has_a_gradient():
    """A ramp of slope 1 per pixel: moving the box by a fraction d of 16 px adds 16 d to each pixel."""
    ramp_11SS = torch.arange(16.0).expand(1, 1, 16, 16)
    box_13 = torch.tensor([[0.51, 0.5, 0.5]], requires_grad=True)
    cut(ramp_11SS, box_13, 8).mean().backward()
    torch.testing.assert_close(box_13.grad[0, :2], torch.tensor([16.0, 0.0]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fill", ["black", "grey", "blur"])
def test_hidden_pixels_are_painted_as_in_training(fill):
    image_HW3 = (np.random.default_rng(0).random((48, 48, 3)) * 255).astype(np.uint8)
    image_HW3 = cv2.GaussianBlur(image_HW3, (0, 0), 2)
    keep_HW = np.zeros((48, 48), bool)
    keep_HW[:, :20] = True
    expected = torch.from_numpy(paint_over(image_HW3, ~keep_HW, fill)).permute(2, 0, 1) / 255
    x_B3HW = torch.from_numpy(image_HW3).permute(2, 0, 1)[None] / 255
    found = painted(x_B3HW, torch.from_numpy(keep_HW)[None].float(), fill)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 / 255)  # it rounds to whole steps
    torch.testing.assert_close(blurring(48, x_B3HW).sum(1), torch.ones(48))


def test_an_eye_gives_features_as_they_are_stored_and_their_gradient_whole():
    identity = Backbone(nn.AvgPool2d(2), 3, 2, (0.5,) * 3, (0.25,) * 3, "")
    x_B3SS = pictures(side=8).requires_grad_()
    batch = Eye(identity, 8, on_pixels=False).batch(x_B3SS, torch.ones(8, 1, 8, 8), torch.arange(8))
    assert torch.equal(batch.x_BCHW, batch.x_BCHW.half().float())
    batch.x_BCHW.sum().backward()
    torch.testing.assert_close(x_B3SS.grad, torch.ones_like(x_B3SS))  # 4 per unit of pixel, a quarter each
    assert batch.object_Bhw.shape == (8, 4, 4)


# Whole cells


def attacker(world: Path, model: str) -> tuple[View, Attacker, pd.DataFrame, nn.Module]:
    params = worlds.load(world)
    view, module = opened(params, world, model, 0)
    return view, Attacker(view, module, params.embed.batch), view.part("test")[:20], module


@pytest.mark.parametrize("model", ["erm", "ersm", "oracle_mask", "inverted_mask", "random_mask"])
def test_an_untouched_picture_gets_the_answer_it_always_gets(world, model):
    view, attack, some, module = attacker(world, model)
    said = predict(module, view.in_order(some), device=view.device)
    found = attack(some, eps=0)
    np.testing.assert_allclose(found.probabilities_NK, said.probabilities_NK, atol=1e-6)
    np.testing.assert_allclose(found.masks_Nhw, said.masks_Nhw, atol=1e-6)


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
    module, some = view.build().eval(), view.part("test")[:6]
    attack = Attacker(view, module, params.embed.batch)
    np.testing.assert_allclose(
        attack(some, eps=0).probabilities_NK, predict(module, view.in_order(some)).probabilities_NK, atol=1e-6
    )
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
        "attack": {"eps": [1, 4], "at": 1, "steps": 2, "examples": 8},
        "attention_drift": {"at": 1, "steps": 2, "examples": 8},
        "gradient_masking": {"at": 1, "steps": 2, "examples": 8},
    }
    worlds.write_params(root, evaluate=small | {"tests": tests, "validation": []})
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
