"""Claim: deletion curves on embedded features cost a fraction of what the backbone costs when it is asked at each step.

Removes the tokens of 16 images of `shapes` one by one, in the order of ERSM's mask: on the features that the default
backbone gave once, and with the backbone seeing the images anew at each step, as where nothing is embedded. Both give
the same areas. Prints the seconds of both, taken in turns, and their ratio, without and with the embedding, which all
measures of all models share.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fieldmark.backbones import efficientnet_lite0
from fieldmark.core import tables
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.datasets import shapes
from fieldmark.explain.deletion import area, removal_ranks
from fieldmark.layers.pixels import normalise
from fieldmark.loading.cache import rendered
from fieldmark.loading.sources import Sources
from fieldmark.models import ersm
from fieldmark.splits import spurious
from fieldmark.training.fit import initialised
from fieldmark.training.predict import kept_probability, predict

IMAGES, SIDE, BATCH, STEPS, ROUNDS = 16, 160, 16, 25, 2
PAIRS = {"disc": "sand", "square": "sea"}
Triples = Iterator[tuple[Batch, Tensor, Tensor]]


def images() -> Tensor:
    """Render images (N, H, W, 3)."""
    with tempfile.TemporaryDirectory() as workspace:
        raw = Path(workspace) / "raw"
        raw.mkdir()
        shapes.pull(raw)
        index = tables.conform(shapes.index(raw), tables.INDEX)
        recipes = spurious.assign(index, seed=0, correlation=0.95, pairs=PAIRS, train=40, val=40, test=IMAGES)
        recipes = recipes[recipes["part"] == "test"]
        found = rendered(recipes, Sources(raw, index), SIDE, Path(workspace) / "cache")
        return torch.from_numpy(np.array(found.images_UHW3[found.rows_N]))


def seen(backbone: Backbone, images_NHW3: Tensor) -> Triples:
    """Show images to the backbone, batch by batch; the labels do not matter here."""
    for images_BHW3 in images_NHW3.split(BATCH):
        x_B3HW = normalise(images_BHW3, backbone.mean, backbone.std)
        with torch.inference_mode():
            none_B = torch.zeros(len(images_BHW3), dtype=torch.int64)
            yield Batch(backbone.module(x_B3HW)), none_B, none_B


def timed(call: Callable[[], object]) -> tuple[float, object]:
    """Return how long a call takes, and what it returns."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def main() -> None:
    """Measure."""
    torch.set_num_threads(1)  # two wait for each other where the machine has other work
    backbone, images_NHW3 = efficientnet_lite0.load(), images()
    show = partial(seen, backbone, images_NHW3)
    head = initialised(lambda: ersm.build(backbone, len(PAIRS), **ersm.RELEASED), 0)
    masks_Nhw = predict(head, show()).masks_Nhw.astype(np.float64)
    ranks_Nhw = removal_ranks(masks_Nhw, np.zeros_like(masks_Nhw))
    times: dict[str, list[float]] = {"embed": [], "features": [], "pixels": []}
    for _ in range(ROUNDS):
        embedding, embedded = timed(lambda: [*show()])
        areas, batches = {}, {"features": lambda given=embedded: given, "pixels": show}
        for name, ask in batches.items():
            curve = partial(area, ranks_Nhw, np.ones_like(masks_Nhw), kept_probability(head, ask), STEPS)
            taken, areas[name] = timed(curve)
            times[name].append(taken)
        times["embed"].append(embedding)
        np.testing.assert_array_equal(areas["features"], areas["pixels"])
    embed, features, pixels = (min(times[name]) for name in times)
    print(
        f"{IMAGES} images, {STEPS} steps: on features {features:.3f} s, with the backbone at each step {pixels:.1f} s:"
        f" {pixels / features:.0f} times as fast; {pixels / (features + embed):.0f} times with the {embed:.1f} s that"
        " embedding takes once"
    )


if __name__ == "__main__":
    main()
