"""How a cell's model sees recipes: as stored features or rendered pixels, with their labels, masks and keys."""

from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from fieldmark.core import device, layout, plugins, store
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.params import Params
from fieldmark.core.words import Plugin
from fieldmark.layers.pixels import normalise
from fieldmark.loading import attributes
from fieldmark.loading.batches import tokens
from fieldmark.loading.cache import Renders, rendered
from fieldmark.loading.keys import keys, render_keys
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.training import features, heads
from fieldmark.variants import masked
from stages._again import Again, Embedder

Batches = Iterable[tuple[Batch, Tensor, Tensor]]


class Pictures(NamedTuple):
    """Pixels of N examples, in the order of their recipes."""

    images_NHW3: npt.NDArray[np.uint8]
    masks_NHW: npt.NDArray[np.bool_]  # the visible object
    labels_N: npt.NDArray[np.int64]
    keys_N: npt.NDArray[np.int64]


class Seen:
    """How one model sees the recipes of one seed."""

    def __init__(self, params: Params, root: Path, model: str, seed: int) -> None:
        torch.set_num_threads(params.threads)
        self.model = params.models[model]
        self.training = params.training(model)
        self.plugin = plugins.find("models", self.model.plugin)
        self.recipes = store.read_table(layout.split(root, params, seed))
        self.classes = sorted(params.split.pairs)
        self.device = device.ready()
        self._params, self._root, self._seed = params, root, seed
        self._size = self.model.size or params.size
        self._index = store.read_table(layout.index(root, params))
        self._features = features.load(layout.embedded(root, params, seed))
        self._groups = sorted(self.recipes["group"].unique())
        self._backbone = self._through()
        self._sources = Sources(layout.raw(root, params), self._index)
        self._embedder = Embedder(params, root, self._features.facts, self._size, self.device)

    def object_masks(self, recipes: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Return the pixel masks (N, H, W) of the visible objects."""
        return self._maps(recipes)[1]

    def maps(self, recipes: pd.DataFrame) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
        """Return feature maps (N, h, w, C) and object masks (N, H, W) of recipes as they stand: stored, or made now."""
        names = render_keys(recipes, self._index, self._size)
        if all(name in self._features.place for name in names):
            rows = self._features.rows(names)
            return self._features.features_NhwC[rows], self._features.masks(rows)
        renders = self._painted(recipes)
        maps = self._embedder(names, lambda rows: renders.images_UHW3[renders.rows_N[rows]], says="embed")
        return maps, renders.masks_UHW[renders.rows_N] > 127

    def pictures(self, recipes: pd.DataFrame, size: int) -> Pictures:
        """Return what the model's view shows of a few recipes, rendered at any size and kept nowhere."""
        seen = self._seen(recipes).itertuples(index=False)
        images, masks = zip(*(render(recipe, self._sources, size) for recipe in seen), strict=True)
        numbers = self._labels(recipes), keys(recipes["example_id"])
        return Pictures(np.stack(images), np.stack(masks) > 127, *numbers)

    @cached_property
    def frozen(self) -> Backbone:
        """The backbone that features come from."""
        facts = self._features.facts
        return self._loaded(Plugin(name=facts["name"], options=facts["options"]))

    @property
    def sight(self) -> Backbone:
        """The backbone that the model's pixels go through."""
        return self._backbone if self.plugin.TRAINS_ON == "pixels" else self.frozen

    def config(self) -> dict[str, Any]:
        """Return all that is needed to build the model again (``fieldmark.serve``)."""
        made = {"model": self.model.plugin, "options": self.model.options}
        seen = {"classes": self.classes, "size": self._size, "seed": self._seed}
        facts = self._features.facts
        if self.model.backbone and self.plugin.TRAINS_ON == "pixels":
            facts = {**self.model.backbone.model_dump(), **self._backbone.facts()}
        return {**made, "backbone": facts, **seen}

    def _through(self) -> Backbone:
        """Return the backbone to build on; a model on features gets what has been through it already."""
        facts = self._features.facts
        if self.plugin.TRAINS_ON == "pixels":
            return self._loaded(self.model.backbone or Plugin(name=facts["name"], options=facts["options"]))
        pixels = tuple(facts["mean"]), tuple(facts["std"])
        given = facts["channels"], facts["stride"], *pixels, facts["fingerprint"]
        return Backbone(nn.Identity(), *given, saliency=lambda: self.frozen.saliency())

    def _loaded(self, named: Plugin) -> Backbone:
        load = plugins.find("backbones", named.name).load
        loaded: Backbone = load(**plugins.accepted(load, named.options))
        return loaded

    def _seen(self, recipes: pd.DataFrame) -> pd.DataFrame:
        return masked(recipes) if self.plugin.VIEW == "masked" else recipes

    def _maps(self, recipes: pd.DataFrame) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.bool_]]:
        return self.maps(self._seen(recipes))

    def _again(self, recipes: pd.DataFrame) -> Again:
        rendered, seen = partial(self._rendered, recipes), self._seen(recipes)
        return Again(seen, self._sources, self._size, self._embedder, rendered, self._backbone)

    def _labels(self, recipes: pd.DataFrame) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.classes, recipes["label"].to_numpy(str)).astype(np.int64)

    def _group_numbers(self, recipes: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return each example's group in training; a variant may move an example to a group training never had."""
        return pd.Categorical(recipes["group"], self._groups).codes.astype(np.int64)

    def _examples(self, recipes: pd.DataFrame) -> heads.Examples:
        maps_NhwC, masks_NHW = self._maps(recipes)
        objects = tokens(np.uint8(255) * masks_NHW, self._backbone.stride)
        labels, groups = self._labels(recipes), self._group_numbers(recipes)
        return heads.examples(
            maps_NhwC, np.arange(len(recipes)), labels=labels, groups=groups, objects_Nhw=objects,
            keys=keys(recipes["example_id"]), attributes_NA=attributes.table(recipes, self._index)[1],
        )  # fmt: skip

    def _rendered(self, recipes: pd.DataFrame) -> Renders:
        return self._painted(self._seen(recipes))

    def _painted(self, recipes: pd.DataFrame) -> Renders:
        folder = layout.cache(self._root) / "rendered"
        return rendered(recipes, self._sources, self._size, folder, workers=self._params.threads)

    def _pixels(self, recipes: pd.DataFrame, renders: Renders, batch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        numbers = (self._labels(recipes), self._group_numbers(recipes), keys(recipes["example_id"]))
        for start in range(0, len(recipes), batch):
            rows = renders.rows_N[start : start + batch]
            labels_B, groups_B, keys_B = (torch.from_numpy(value[start : start + batch]) for value in numbers)
            x_BCHW = normalise(torch.from_numpy(renders.images_UHW3[rows]), self._backbone.mean, self._backbone.std)
            object_Bhw = torch.from_numpy(tokens(renders.masks_UHW[rows], self._backbone.stride))
            yield Batch(x_BCHW, object_Bhw, keys_B), labels_B, groups_B
