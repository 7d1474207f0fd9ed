"""Claim: what each word of ``models`` costs beside the baseline, counted and timed.

    python -m bench.cost [WORD...] [--params FILE] [--rounds 7] [--write]

Prints parameters, multiply-adds (MACs) and images a second: answered, from pixels on; trained, by the loop that trains
cells on what it trains them on, which for models on frozen features are features in memory. Behind each is its ratio
to the baseline of ``register``. All models take turns on the same machine, and a ratio of speeds is the median over the
turns: read ratios, not speeds. ``--write`` keeps the table in ``bench/cost.json``, where the report looks for it.
"""

import argparse
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fieldmark.core import plugins, store
from fieldmark.core.contracts import Backbone
from fieldmark.core.params import Params, load
from fieldmark.training.cost import Way, answering, cost, learning, side_by_side
from fieldmark.training.fit import initialised

ROOT = Path(__file__).parent.parent
KEPT = ROOT / "bench" / "cost.json"
BATCHES = {"features": 8, "pixels": 1}  # of a timed lesson: enough for heads, not too long for a whole network
Timed = tuple[Callable[[], None], int]  # a call and how many images it is about


def way(params: Params, word: str, backbone: Backbone) -> Way:
    """Build a model, untrained: its numbers cost nothing."""
    model = params.models[word]
    plugin = plugins.find("models", model.plugin)
    on_pixels = plugin.TRAINS_ON == "pixels"
    under = backbone if on_pixels else backbone._replace(module=nn.Identity())
    options = plugins.accepted(plugin.build, model.options)
    module = initialised(lambda: plugin.build(under, len(params.split.pairs), **options), 0)
    return Way(module, backbone, on_pixels=on_pixels)


@cache
def images(count: int, size: int, device: str) -> Tensor:
    """Draw normalised images."""
    x_B3HW = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    return x_B3HW.to(device, memory_format=torch.channels_last)


def lesson(params: Params, word: str, one: Way, device: str) -> Timed:
    """Return a call that trains a model by cross-entropy: what an objective adds is no model's cost."""
    size, batch = params.models[word].size or params.size, params.training(word).batch
    labels_B = torch.arange(batch, device=device) % len(params.split.pairs)
    batches = BATCHES["features" if one.backbone else "pixels"]
    return learning(one, images(batch, size, device), labels_B, blind, batches=batches), batch * batches


def blind(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    """Return the cross-entropy."""
    return cross_entropy(logits_BK, labels_B)


def speeds(calls: dict[str, Timed], baseline: str, rounds: int, device: str) -> dict[str, tuple[float, float]]:
    """Return images a second and their ratio to the baseline's."""
    seconds = side_by_side({word: call for word, (call, _) in calls.items()}, rounds=rounds, device=device)
    each = {word: np.array(seconds[word]) / count for word, (_, count) in calls.items()}
    return {
        word: (float(1 / np.median(taken)), float(np.median(each[baseline] / taken))) for word, taken in each.items()
    }


def measured(params: Params, words: list[str], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Return the numbers of each word."""
    backbone = plugins.find("backbones", params.backbone.name).load(**params.backbone.options)
    baseline = params.register_.baseline
    ways = {word: way(params, word, backbone).to(device) for word in dict.fromkeys([baseline, *words])}
    sizes = {word: params.models[word].size or params.size for word in ways}
    counted = {word: cost(one, images(1, sizes[word], device)) for word, one in ways.items()}
    batch = params.embed.batch
    answers = {word: (answering(one, images(batch, sizes[word], device)), batch) for word, one in ways.items()}
    lessons = {word: lesson(params, word, one, device) for word, one in ways.items()}
    inference, training = (speeds(calls, baseline, rounds, device) for calls in (answers, lessons))
    return {
        word: {
            **counted[word],
            "macs_ratio": counted[word]["macs"] / counted[baseline]["macs"],
            "inference": inference[word][0],
            "inference_ratio": inference[word][1],
            "training": training[word][0],
            "training_ratio": training[word][1],
        }
        for word in ways
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the numbers for a terminal."""
    lines = [f"{'':20} {'parameters':>11} {'learned':>11} {'M MACs':>17} {'images/s, answered':>21} {'trained':>21}"]
    for word, row in rows.items():
        counted = f"{word:20} {row['parameters']:11,.0f} {row['learned']:11,.0f}"
        rates = {"macs": 9, "inference": 13, "training": 13}
        told = {**row, "macs": row["macs"] / 1e6}
        lines.append(
            counted + "".join(f"{told[name]:{n}.1f} x{row[name + '_ratio']:<7.3g}" for name, n in rates.items())
        )
    return "\n".join(lines)


def main(words: list[str], params: Path, rounds: int, write: bool) -> None:
    """Measure, print and, if asked to, keep."""
    read = load(params)
    torch.set_num_threads(read.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = measured(read, words or [*read.models], rounds, device)
    print(table(rows))
    if write:
        name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
        machine = {"device": name, "threads": read.threads, "torch": torch.__version__, "rounds": rounds}
        store.write_json(KEPT, {"machine": machine, "baseline": read.register_.baseline, "models": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    main(**vars(parser.parse_args()))
