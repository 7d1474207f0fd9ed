"""The maps of one model that measures are asked about, and what becomes of a map when something else changes."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import nn

from fieldmark.training.attribution import attribution
from fieldmark.training.predict import Prediction, predict
from fieldmark.training.probing import noisy, shuffled
from stages._cell import View
from stages._seen import Batches

FloatArray = npt.NDArray[np.float64]
OWN = "mask"


class Known(Mapping[str, Any]):
    """What measures can ask for by name: made when first asked for, then kept; what nobody asks for costs nothing."""

    def __init__(self, makers: Mapping[str, Callable[[], Any]], beside: Mapping[str, Any] | None = None) -> None:
        self._makers, self._beside = makers, {} if beside is None else beside
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._makers:
            return self._beside[name]
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers.keys() | set(self._beside))

    def __len__(self) -> int:
        return len(self._makers.keys() | set(self._beside))

    def __contains__(self, name: object) -> bool:
        return name in self._makers or name in self._beside  # the inherited one would make it


class Maps:
    """One model's maps of the test part; each explains the class that the model names on the picture as it is."""

    def __init__(
        self, view: View, module: nn.Module, recipes: pd.DataFrame, vary: Callable[[str, pd.DataFrame], pd.DataFrame]
    ) -> None:
        self._view, self.module, self._recipes, self._vary = view, module, recipes, vary
        self.batches = [*view.in_order(recipes)]
        self.said: Prediction = predict(module, self.batches, device=view.device)
        self.named_N = self.said.probabilities_NK.argmax(1)
        self.on_features = view.plugin.TRAINS_ON == "features"
        self.looks_again = self.on_features and hasattr(module, "phases")

    def offers(self, kind: str) -> bool:
        """Say whether there is such a map: a second look has no gradient, and Grad-CAM needs a map of features."""
        if kind == OWN:
            return True
        return not self.looks_again and (kind != "gradcam" or self.on_features or hasattr(self.module, "backbone"))

    def known(self, kind: str, shared: Mapping[str, Any]) -> Known:
        """Return what measures can ask for about one kind of map, beside what they share."""
        once = Known({"made": partial(self._made, kind, self.module, self.batches)})
        dear = self.looks_again  # each of these maps would cost passes of the backbone
        makers: dict[str, Callable[[], Any]] = {
            "map_Bhw": lambda: once["made"] if kind == OWN else relative(once["made"]),
            "attribution_Bhw": lambda: once["made"],
            "varied_map": lambda: partial(self._varied, kind),
            "randomised_map": lambda: None if dear else partial(self._randomised, kind),
            "disturbed_map": lambda: None if dear else partial(self._disturbed, kind),
        }
        return Known(makers, shared)

    def _made(self, kind: str, module: nn.Module, batches: Batches) -> FloatArray:
        if kind != OWN:
            grid = (self.said.masks_Nhw.shape[1], self.said.masks_Nhw.shape[2])
            return attribution(kind, module, batches, self.named_N, grid, device=self._view.device)
        known = module is self.module and batches is self.batches
        said = self.said if known else predict(module, batches, device=self._view.device)
        return said.masks_Nhw.astype(np.float64)

    def _varied(self, kind: str, variant: str) -> FloatArray:
        found = self._made(kind, self.module, self._view.in_order(self._vary(variant, self._recipes)))
        return found if kind == OWN else relative(found)

    def _randomised(self, kind: str, draw: int) -> FloatArray:
        found = self._made(kind, shuffled(self.module, draw), self.batches)
        return found if kind == OWN else relative(found)

    def _disturbed(self, kind: str, radius: float, draw: int) -> FloatArray:
        return self._made(kind, self.module, noisy(self.batches, radius, draw))


def relative(map_Bhw: FloatArray) -> FloatArray:
    """Return the positive part as a fraction of each example's largest, in [0, 1]; 0 where nothing is positive.

    >>> relative(np.array([[[-1.0, 1.0, 4.0]], [[-2.0, 0.0, -1.0]]])).tolist()
    [[[0.0, 0.25, 1.0]], [[0.0, 0.0, 0.0]]]
    """
    positive_Bhw = map_Bhw.clip(0)
    return np.asarray(positive_Bhw / positive_Bhw.max((1, 2), keepdims=True).clip(np.finfo(np.float64).tiny))
