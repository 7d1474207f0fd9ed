"""What the stages of a cell share: its model and what it learns from, and the trained model opened again."""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from fieldmark.core import layout, plugins
from fieldmark.core.params import Params
from fieldmark.layers.pixels import normalise
from fieldmark.layers.pooling import TokenClassifier
from fieldmark.loading.batches import PixelBatches
from fieldmark.loading.cache import rendered
from fieldmark.loading.keys import keys
from fieldmark.objectives._shared import Targets
from fieldmark.training import heads
from fieldmark.training.checkpoint import read_weights
from fieldmark.training.cost import Way, cost
from fieldmark.training.fit import Objective, Rows, fit
from fieldmark.variants import apply
from stages._again import Again
from stages._seen import Batches, Seen


class View(Seen):
    """One model on one seed: what it is built from, is taught and is asked."""

    def build(self) -> nn.Module:
        """Return the model, untrained."""
        options = plugins.accepted(self.plugin.build, self.model.options)
        built: nn.Module = self.plugin.build(self._backbone, len(self.classes), **options)
        return built

    def part(self, name: str) -> pd.DataFrame:
        """Return the recipes of a part."""
        return self.recipes[self.recipes["part"] == name].reset_index(drop=True)

    @cached_property
    def taught(self) -> pd.DataFrame:
        """The recipes that the model is trained on: its part, in each variant asked for."""
        part, vary = self.part(self.plugin.TRAIN_PART), partial(apply, pairs=self._params.split.pairs, seed=self._seed)
        tables = [
            part if name == "original" else vary(name, part).assign(example_id=part["example_id"] + "~" + name)
            for name in self.model.train_on
        ]
        return pd.concat(tables, ignore_index=True)

    def objective(self) -> Objective:
        """Return what training minimises, for one training: it may have a state."""
        plugin, options = plugins.find("objectives", self.model.objective), self.model.objective_options
        targets = Targets(self._labels(self.taught), self._group_numbers(self.taught), self._seed)
        objective: Objective = plugin.build(targets, **plugins.accepted(plugin.build, options))
        return objective

    def lessons(self, rows: Rows | None = None) -> Callable[[int], Batches]:
        """Return the batches of each epoch of training, of the rows of ``taught`` that are drawn."""
        batch, seed = self.training.batch, self._seed
        if self.plugin.TRAINS_ON == "features":
            ordered = heads.shuffled(self._lessons[0], batch=batch, seed=seed, rows=rows, device=self.device)
            return lambda epoch: _looking(ordered(epoch), self._lessons[1])
        targets = (self._labels(self.taught), self._group_numbers(self.taught), keys(self.taught["example_id"]))
        return PixelBatches(
            self._rendered(self.taught), *targets, mean=self._backbone.mean, std=self._backbone.std,
            stride=self._backbone.stride, batch=batch, seed=seed, workers=self._params.train.workers,
            device=self.device, rows=rows,
        )  # fmt: skip

    @cached_property
    def _lessons(self) -> tuple[heads.Examples, Again]:
        return self._examples(self.taught), self._again(self.taught)

    def in_order(self, recipes: pd.DataFrame) -> Batches:
        """Return the examples as they stand, whatever their number."""
        batch = self._params.embed.batch
        if self.plugin.TRAINS_ON == "features":
            return _looking(heads.in_order(self._examples(recipes), batch=batch), self._again(recipes))
        return self._pixels(recipes, self._rendered(recipes), batch)

    def cost(self, module: nn.Module) -> dict[str, int]:
        """Return parameters and multiply-adds of one answer, from pixels on: of a real picture, for some do less."""
        way = Way(module, self.sight, on_pixels=self.plugin.TRAINS_ON == "pixels").to(self.device)
        one = rendered(self.part("test")[:1], self._sources, self._size, layout.cache(self._root) / "rendered")
        x_1CHW = normalise(torch.from_numpy(np.array(one.images_UHW3)), self._backbone.mean, self._backbone.std)
        return cost(way, x_1CHW.to(self.device))

    def plain(self) -> nn.Module:
        """Return a classifier of the frozen features that looks everywhere, trained on what the model was taught."""
        how, lessons = self._params.train, self._examples(self.taught)
        built = TokenClassifier(self.frozen.channels, len(self.classes))
        nn.init.zeros_(built.linear.weight)  # the problem is convex: it needs no luck
        nn.init.zeros_(built.linear.bias)
        ordered = heads.shuffled(lessons, batch=how.batch, seed=self._seed)
        fit(built, ordered, objective=lambda logits_BK, labels_B, _: nn.functional.cross_entropy(logits_BK, labels_B),
            epochs=how.epochs, lr=how.lr, weight_decay=how.weight_decay, device=self.device)  # fmt: skip
        return built


def _looking(batches: Batches, again: Again) -> Batches:
    """Give each batch a second look at its examples."""
    for batch, labels_B, groups_B in batches:
        assert batch.key_B is not None  # the view's own batches have keys
        yield batch._replace(look=again.of(batch.key_B), pixels=again.pixels(batch.key_B)), labels_B, groups_B


def opened(params: Params, root: Path, model: str, seed: int) -> tuple[View, nn.Module]:
    """Return a trained cell: its view and its model, ready to answer."""
    view = View(params, root, model, seed)
    module = view.build()
    read_weights(layout.trained(root, model, seed) / "weights.safetensors", module)
    return view, module.to(view.device).eval()
