"""Claim: what each word of ``models`` costs beside the baseline, counted and timed.

    python -m bench.cost [WORD...] [--params FILE] [--rounds 7] [--write [FILE]]

Prints parameters, multiply-adds and images a second, each beside its ratio to the baseline's (``register``). Answering
is from pixels on; learning is the loop that trains cells on what they train on: for models on frozen features that is
features in memory. All models take turns on the same machine, and a ratio of speeds is the median over the turns: read
ratios, not speeds. ``--write`` keeps the numbers in a file, by default ``bench/cost.json``.
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

from fieldmark.core import device, plugins, store
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


def speeds(calls: dict[str, Timed], baseline: str, rounds: int, device: str) -> dict[str, float]:
    """Return images a second: the baseline's median, and for the others as many times that as is the median ratio."""
    seconds = side_by_side({word: call for word, (call, _) in calls.items()}, rounds=rounds, device=device)
    each = {word: np.array(seconds[word]) / count for word, (_, count) in calls.items()}
    return {word: float(np.median(each[baseline] / taken) / np.median(each[baseline])) for word, taken in each.items()}


def measured(params: Params, words: list[str], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Return the numbers of each word, the baseline's first."""
    backbone = plugins.find("backbones", params.backbone.name).load(**params.backbone.options)
    baseline, batch = params.register_.baseline, params.embed.batch
    ways = {word: way(params, word, backbone).to(device) for word in dict.fromkeys([baseline, *words])}
    sizes = {word: params.models[word].size or params.size for word in ways}
    answers = {word: (answering(one, images(batch, sizes[word], device)), batch) for word, one in ways.items()}
    lessons = {word: lesson(params, word, one, device) for word, one in ways.items()}
    fast = {
        "answering": speeds(answers, baseline, rounds, device),
        "learning": speeds(lessons, baseline, rounds, device),
    }
    return {
        word: {**cost(one, images(1, sizes[word], device)), **{name: each[word] for name, each in fast.items()}}
        for word, one in ways.items()
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the numbers for a terminal, each beside its ratio to the first row's."""
    first = next(iter(rows.values()))
    widths = {"parameters": 11, "learned": 11, "macs": 13, "answering": 9, "learning": 9}
    lines = [" " * 20 + "".join(f"{name:>{width}}          " for name, width in widths.items())]
    for word, row in rows.items():
        told = (f"{row[name]:{width},.0f} x{row[name] / first[name]:<8.3g}" for name, width in widths.items())
        lines.append(f"{word:20}" + "".join(told))
    return "\n".join(lines)


def main(words: list[str], params: Path, rounds: int, write: Path | None) -> None:
    """Measure, print and, if asked to, keep."""
    read = load(params)
    torch.set_num_threads(read.threads)
    where = device.ready()
    rows = measured(read, words or [*read.models], rounds, where)
    print(table(rows))
    if write:
        name = torch.cuda.get_device_name() if where == "cuda" else platform.machine()
        machine = {"device": name, "threads": read.threads, "torch": torch.__version__, "rounds": rounds}
        store.write_json(write, {"machine": machine, "baseline": read.register_.baseline, "models": rows})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", metavar="FILE", type=Path, nargs="?", const=KEPT)
    main(**vars(parser.parse_args()))
