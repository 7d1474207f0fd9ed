"""A tiny classifier of drawn shapes that leans on the background, as other people keep theirs."""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification, ViTImageProcessorPil

from fieldmark.datasets import shapes
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.splits import spurious

CLASSES = ["disc", "square"]
SIZE = 64
MEAN, STD = [0.5, 0.4, 0.3], [0.25, 0.3, 0.35]


def trained(folder: Path, steps: int = 30) -> ResNetForImageClassification:
    """Train on pictures whose background tells the class; ``folder`` keeps the originals."""
    folder.mkdir(parents=True)
    shapes.pull(folder)
    index = shapes.index(folder)
    pairs = {"disc": "sand", "square": "sea"}
    recipes = spurious.assign(index, seed=0, correlation=0.95, pairs=pairs, train=80, val=4, test=4)
    recipes, sources = recipes[recipes["part"] == "train"], Sources(folder, index)
    images = np.stack([render(recipe, sources, SIZE).image_HW3 for recipe in recipes.itertuples(index=False)])
    x = torch.from_numpy((images / 255 - MEAN) / STD).float().permute(0, 3, 1, 2)
    y = torch.from_numpy(np.searchsorted(CLASSES, recipes["label"].to_numpy(str)))
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic",
        id2label=dict(enumerate(CLASSES)), label2id={name: row for row, name in enumerate(CLASSES)},
    )  # fmt: skip
    network = ResNetForImageClassification(config)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(steps):
        batch = torch.arange(step * 20, step * 20 + 20) % len(y)
        loss = torch.nn.functional.cross_entropy(network(pixel_values=x[batch]).logits, y[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def checkpoint(folder: Path, network: ResNetForImageClassification) -> Path:
    """Write what ``save_pretrained`` writes; the processor resizes and crops, as many do."""
    network.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIZE, "width": SIZE}, image_mean=MEAN, image_std=STD).save_pretrained(folder)
    return folder


def onnx(path: Path, network: torch.nn.Module, **described: object) -> Path:
    """Export, with the description beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Logits(network).eval(), (torch.zeros(2, 3, SIZE, SIZE),), str(path),
        input_names=["pixels"], output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, verbose=False,
    )  # fmt: skip
    facts = {"classes": CLASSES, "size": SIZE, "mean": MEAN, "std": STD, **described}
    path.with_suffix(".json").write_text(json.dumps(facts))
    return path


class Logits(torch.nn.Module):
    """The network as a function from pixels to logits."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_B3HW: torch.Tensor) -> torch.Tensor:
        return self.network(pixel_values=x_B3HW).logits
