"""What is shown to the backbone while a model runs: a second look, a size of its own, a variant nobody foresaw."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from fieldmark.core import layout, plugins, store
from fieldmark.core.contracts import Backbone, Fill, Look
from fieldmark.core.params import Params
from fieldmark.layers.pixels import normalise
from fieldmark.loading.cache import Renders
from fieldmark.loading.keys import keys, render_keys
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.training.embed import embed
from fieldmark.training.memory import Halves, Memory
from fieldmark.variants.nearer import kept, zoomed

CHUNK = 256  # images held in memory at once
Rows = npt.NDArray[np.int64]
Pixels = Callable[[Rows], npt.NDArray[np.uint8]]  # rows -> images


class Embedder:
    """Shows images to the frozen backbone, each one once."""

    def __init__(self, params: Params, root: Path, facts: dict[str, object], size: int, device: str) -> None:
        self._facts, self._device, self._batch = facts, device, params.embed.batch
        side = size // int(str(facts["stride"]))
        # all that the arithmetic hangs on; the render keys hold the rest
        name = store.fingerprint([facts, size, self._batch, params.threads, device])[:16]
        self._memory = Memory(
            layout.cache(root) / "features" / f"{name}.sqlite", (side, side, int(str(facts["channels"])))
        )

    @cached_property
    def _backbone(self) -> Backbone:
        loaded: Backbone = plugins.find("backbones", str(self._facts["name"])).load(**self._facts["options"])  # type: ignore[arg-type]  # JSON
        return loaded

    def __call__(self, keys_N: Sequence[str], pixels: Pixels, says: str = "") -> Halves:
        """Return the feature maps (N, h, w, C) of images, given their render keys and a way to their pixels."""
        known = self._memory.recall(dict.fromkeys(keys_N))
        first = {key: row for row, key in reversed([*enumerate(keys_N)]) if key not in known}
        todo = sorted(first)
        for start in range(0, len(todo), CHUNK):
            names = todo[start : start + CHUNK]
            maps_nhwC = np.empty((len(names), *self._memory.shape), np.float16)
            images = pixels(np.array([first[name] for name in names]))
            embed(self._backbone, images, maps_nhwC, batch=self._batch, device=self._device, progress=says)
            new = dict(zip(names, maps_nhwC, strict=True))
            self._memory.keep(new)
            known |= new
        return np.stack([known[key] for key in keys_N])


class Again:
    """Looks at recipes again, nearer: a crop is a recipe too."""

    def __init__(
        self, recipes: pd.DataFrame, sources: Sources, size: int, embedder: Embedder, rendered: Callable[[], Renders],
        backbone: Backbone,
    ) -> None:  # fmt: skip
        self._recipes, self._sources, self._size, self._embedder = recipes, sources, size, embedder
        self._rendered, self._backbone = rendered, backbone
        self._row = {int(key): row for row, key in enumerate(keys(recipes["example_id"]))}
        self._seen: dict[tuple[object, ...], Halves] = {}  # an epoch asks for what the one before it saw

    def of(self, key_B: Tensor) -> Look:
        """Return the second look at the examples with these keys."""
        return partial(self._look, key_B)

    def pixels(self, key_B: Tensor) -> Callable[[], Tensor]:
        """Return the way to the normalised pixels of the examples with these keys, for whoever needs them."""
        return lambda: normalise(self._images(self._rows(key_B)), self._backbone.mean, self._backbone.std)

    def _images(self, rows: list[int]) -> Tensor:
        return torch.from_numpy(self._renders.images_UHW3[self._renders.rows_N[rows]])

    @cached_property
    def _renders(self) -> Renders:
        return self._rendered()  # most models never ask

    def _rows(self, key_B: Tensor) -> list[int]:
        """Return where the examples stand; a GPU is waited for, so only once somebody looks."""
        return [self._row[key] for key in key_B.tolist()]

    def _look(self, key_B: Tensor, boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
        rows = self._rows(key_B)
        boxes = boxes_Bn3.detach().double().cpu().numpy()
        keep = None if keep_Bhw is None else keep_Bhw.cpu().numpy() > 0.5
        wanted = [
            (row, *box, fill, b"" if keep is None else keep[place].tobytes())
            for n in range(boxes.shape[1])
            for place, (row, box) in enumerate(zip(rows, boxes[:, n].tolist(), strict=True))
        ]
        new = [place for place, name in enumerate(wanted) if name not in self._seen]
        if new:
            examples = np.array(new) % len(rows)
            shown = self._recipes.iloc[np.array(rows)[examples]]
            if keep is not None:
                shown = kept(shown, keep[examples], fill)
            near = zoomed(shown, np.array([wanted[place][1:4] for place in new]))
            for place, seen in zip(new, self._embedded(near), strict=True):
                self._seen[wanted[place]] = seen
        x_NhwC = torch.from_numpy(np.stack([self._seen[name] for name in wanted])).to(boxes_Bn3.device).float()
        x_BhnwC = x_NhwC.view(boxes.shape[1], len(rows), *x_NhwC.shape[1:]).permute(1, 2, 0, 3, 4)
        return x_BhnwC.flatten(2, 3).permute(0, 3, 1, 2)  # channels stay last in memory: no copy where n is 1

    def _embedded(self, near: pd.DataFrame) -> Halves:
        rows = list(near.itertuples(index=False))

        def pixels(wanted_N: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
            return np.stack([render(rows[row], self._sources, self._size).image_HW3 for row in wanted_N])

        return self._embedder(render_keys(near, self._sources.index, self._size), pixels)
