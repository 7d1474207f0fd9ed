"""Measures under attack: curves and draws by hand, and masked gradients are found out."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from fieldmark.core.contracts import Attacked
from fieldmark.layers.attack import Target
from fieldmark.layers.attacks import harder
from fieldmark.layers.straight_through import straight_through
from fieldmark.robustness import attack as curves
from fieldmark.robustness import gradient_masking
from fieldmark.robustness._attacks import area, drawn

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
