"""Attacks on pictures of two pixels: the object's and the background's. The attacks are the real ones, the models toys.

The background reader names the class by its second pixel, which is a hundredth of a step of 255 above or below the
middle. Of every fifth example it gives no gradient.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fieldmark.core.contracts import Attacked
from fieldmark.layers.attack import Target
from fieldmark.layers.attacks import harder
from fieldmark.layers.straight_through import straight_through

MIDDLE, OFF = 0.5, 0.01 / 255


def attack(predict: Callable[[pd.DataFrame], np.ndarray], classes: tuple[str, ...], *, reads: bool):
    """Return the attack on a toy: what it says hangs on the background's pixel, or (``reads`` false) on no pixel."""

    def call(recipes: pd.DataFrame, *, eps, kind="pgd", steps=10, restarts=1, region="all") -> Attacked:
        water = (recipes["background"] == "water").to_numpy()
        x_B112 = torch.tensor(np.stack([np.full(len(water), MIDDLE), MIDDLE + np.where(water, OFF, -OFF)], 1)).float()
        x_B112 = x_B112[:, None, None]
        labels_B = torch.tensor([classes.index(label) for label in recipes["label"]], dtype=torch.int64)
        key_B = torch.tensor((recipes["n"] + 10 * labels_B.numpy() + 100 * water).to_numpy(), dtype=torch.int64)
        blind_B = torch.tensor((recipes["n"] == 4).to_numpy())
        said_BK = torch.tensor(predict(recipes), dtype=torch.float32)

        def openly(x: Tensor) -> Tensor:
            bird_B = x[:, 0, 0, 1] - MIDDLE
            return torch.stack([bird_B, -bird_B], 1) * 1e3

        def reader(x: Tensor) -> Tensor:
            return torch.where(blind_B[:, None], openly(x).sign(), openly(x))  # the sign's gradient is 0

        def ignores(x: Tensor) -> Tensor:
            return said_BK.log()

        answers = reader if reads else ignores
        sides = {"all": None, "object": [1.0, 0.0], "background": [0.0, 1.0]}
        side = None if sides[region] is None else torch.tensor(sides[region]).view(1, 1, 1, 2)
        through = openly if reads and kind in ("transfer", "straight_through") else None
        aim = Target(answers, x_B112, labels_B, key_B, side, through)
        found = harder(kind, aim, eps=eps, steps=steps, restarts=restarts)
        bird_B = straight_through(found.x_BCHW[:, 0, 0, 1]) if reads else torch.zeros(len(water))
        mask_B12 = torch.stack([1 - bird_B, bird_B], 1)[:, None]  # the reader looks left at birds, right at mammals
        return Attacked(answers(found.x_BCHW).softmax(1).numpy(), mask_B12.numpy())

    return call
