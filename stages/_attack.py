"""Pictures changed to fool a cell's model, by gradients that come back through all it sees, second looks included."""

import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Attacked, Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.attack import Answers, Found, Target
from fieldmark.layers.attacks import KINDS, harder
from fieldmark.layers.eye import Eye
from stages._cell import View
from stages._seen import Pictures

REGIONS = ("all", "object", "background")
Find = Callable[[Target], Found]


class Attacker:
    """Attacks one model; what is asked for twice is done once (``core.contracts.Attack``)."""

    def __init__(self, view: View, module: nn.Module, batch: int) -> None:
        self._view, self._module, self._batch = view, module, batch
        self._known: dict[Any, dict[int, tuple[Any, Any]]] = {}  # by attack and recipe
        self._rendered: dict[int, Pictures] = {}  # one each

    def __call__(
        self, recipes: pd.DataFrame, *, eps: float, kind: str = "pgd", steps: int = 10, restarts: int = 1,
        region: str = "all",
    ) -> Attacked:  # fmt: skip
        """Return what the model says of the hardest pictures found.

        Raises:
            FieldmarkError: no such kind of attack, or no such region.
        """
        if kind not in KINDS or region not in REGIONS:
            raise FieldmarkError(
                f"there is no attack '{kind}' on '{region}': use one of {', '.join(KINDS)} on {', '.join(REGIONS)}."
            )
        if recipes.empty:
            return Attacked(np.empty((0, len(self._view.classes)), np.float32), np.empty((0, 0, 0), np.float32))
        known = self._known.setdefault((kind, eps, steps, restarts, region), {})
        names = _names(recipes)
        new = [row for row, name in enumerate(names) if name not in known]
        if new:
            find = partial(harder, kind, eps=eps, steps=steps, restarts=restarts)
            said = self._attacked(recipes.iloc[new], kind, region, find)
            known |= {names[row]: answer for row, answer in zip(new, said, strict=True)}
        return Attacked(*(np.array(column) for column in zip(*(known[name] for name in names), strict=True)))

    def _attacked(self, recipes: pd.DataFrame, kind: str, region: str, find: Find) -> Iterator[tuple[Any, Any]]:
        """Attack batch by batch; each is full, so a picture's arithmetic hangs on no other (``training.embed``)."""
        self._module.requires_grad_(False)
        count = len(recipes)
        for start in range(0, count, self._batch):
            rows_B = np.minimum(np.arange(start, start + self._batch), count - 1)
            said = self._part(self._shown(recipes.iloc[rows_B]), kind, region, find)
            columns = (said.logits_BK.softmax(1).cpu().numpy(), said.mask_Bhw.float().cpu().numpy())
            yield from zip(*(column[: count - start] for column in columns), strict=True)

    def _shown(self, recipes: pd.DataFrame) -> Pictures:
        """Return pictures, each rendered once: the same are attacked again and again."""
        names = _names(recipes)
        for row, name in enumerate(names):
            if name not in self._rendered:
                self._rendered[name] = self._view.pictures(recipes.iloc[[row]], self._side)
        columns = zip(*(self._rendered[name] for name in names), strict=True)
        return Pictures(*(np.concatenate(column) for column in columns))

    def _part(self, shown: Pictures, kind: str, region: str, find: Find) -> Output:
        """Return what the model says of the hardest pictures of one batch."""
        image_BHW3, object_BHW, labels_B, key_B = (torch.from_numpy(value).to(self._view.device) for value in shown)
        x_B3HW, object_B1HW = image_BHW3.permute(0, 3, 1, 2).float().div_(255), object_BHW[:, None].float()
        changes_B1HW = {"all": None, "object": object_B1HW, "background": 1 - object_B1HW}[region]

        def given(x_B3HW: Tensor, eye: Eye) -> Batch:
            masked = self._view.plugin.VIEW == "masked"
            return eye.batch(x_B3HW * object_B1HW if masked else x_B3HW, object_B1HW, key_B)

        def answer(x_B3HW: Tensor) -> Output:
            said: Output = self._module(given(x_B3HW, self._eye))
            return said._replace(logits_BK=said.logits_BK.float())

        ways: dict[str, Answers] = {
            "transfer": lambda x_B3HW: self._plain[0](given(x_B3HW, self._plain[1])).logits_BK,
            "straight_through": lambda x_B3HW: self._module(given(x_B3HW, self._eye), whole_Bhw).logits_BK.float(),
        }
        with torch.no_grad():
            whole_Bhw = torch.ones_like(answer(x_B3HW).mask_Bhw) if kind == "straight_through" else None
            aim = Target(lambda x_B3HW: answer(x_B3HW).logits_BK, x_B3HW, labels_B, key_B, changes_B1HW, ways.get(kind))
            return answer(find(aim).x_BCHW)

    @cached_property
    def _side(self) -> int:
        """Side of the pictures, px: a model's nearest look finds all its pixels there."""
        return math.ceil(self._eye.size / min(getattr(self._module, "sides", (1.0,))))

    @cached_property
    def _eye(self) -> Eye:
        return self._through(self._view.sight, on_pixels=self._view.plugin.TRAINS_ON == "pixels")

    @cached_property
    def _plain(self) -> tuple[nn.Module, Eye]:
        """Whose gradients a transferred attack follows: a network that looks everywhere, taught the same."""
        return self._view.plain().requires_grad_(False), self._through(self._view.frozen, on_pixels=False)

    def _through(self, backbone: Backbone, *, on_pixels: bool) -> Eye:
        backbone.module.to(self._view.device).eval().requires_grad_(False)
        return Eye(backbone, self._view.config()["size"], on_pixels=on_pixels)


def _names(recipes: pd.DataFrame) -> list[int]:
    """Return a hash of each recipe."""
    return [*map(int, pd.util.hash_pandas_object(recipes, index=False))]
