"""What measures of single units are shown of a model: what its last layer reads, and how the examples look."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from fieldmark.explain._units import Units
from fieldmark.training.fit import move
from fieldmark.variants.backgrounds import masked, only_bg_tiled
from stages._cell import View


def units(view: View, module: nn.Module, batches: Sequence[Any], recipes: pd.DataFrame) -> Callable[[], Units | None]:
    """Return a question that is answered once, and only where a measure asks it."""

    @cache
    def ask() -> Units | None:
        linear = getattr(module, "linear", None)
        if view.plugin.TRAINS_ON != "features" or not isinstance(linear, nn.Linear):
            return None
        read_NU, weight_KU = read(view, module, linear, batches), linear.weight.detach().cpu().double().numpy()
        looks = recipes, masked(recipes), only_bg_tiled(recipes, pairs={}, seed=0)
        return None if read_NU is None else Units(read_NU, weight_KU, *(pooled(view, one) for one in looks))

    return ask


def read(view: View, module: nn.Module, linear: nn.Linear, batches: Sequence[Any]) -> npt.NDArray[np.float64] | None:
    """Return what a model feeds its linear classifier (N, U); None if that is not one row an example."""
    seen: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _, given: seen.append(given[0].double().cpu()))
    with torch.inference_mode():
        for batch, _, _ in batches:
            module(move(batch, view.device))
    handle.remove()
    rows = [len(labels_B) for _, labels_B, _ in batches]
    if [tuple(one.shape) for one in seen] != [(n, linear.in_features) for n in rows]:
        return None
    return torch.cat(seen).numpy()


def pooled(view: View, recipes: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the mean over tokens (N, C) of what the frozen backbone sees."""
    return np.asarray(view.maps(recipes)[0].mean((1, 2), dtype=np.float64))
