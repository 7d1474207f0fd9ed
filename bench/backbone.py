"""Claim: EfficientNet-Lite0 with folded batch normalisation, channels last, is faster than as it comes.

Prints milliseconds an image of both and their ratio, measured side by side in alternation; how much depends on what
else the machine is doing.
"""

import time

import numpy as np
import torch

from fieldmark.backbones import efficientnet_lite0

BATCH, SIDE, ROUNDS = 16, 160, 8


def seconds(module: torch.nn.Module, x_B3HW: torch.Tensor) -> float:
    """Return how long one batch takes."""
    start = time.perf_counter()
    with torch.inference_mode():
        module(x_B3HW)
    return time.perf_counter() - start


def main() -> None:
    """Measure."""
    torch.set_num_threads(2)
    x_B3HW = torch.from_numpy(np.random.default_rng(0).normal(size=(BATCH, 3, SIDE, SIDE)).astype(np.float32))
    modules = {fold: efficientnet_lite0.load(fold=fold).module for fold in (False, True)}
    inputs = {False: x_B3HW, True: x_B3HW.to(memory_format=torch.channels_last)}
    times: dict[bool, list[float]] = {fold: [] for fold in modules}
    for _ in range(ROUNDS):  # the median leaves the first round's warming up out
        for fold in modules:
            times[fold].append(seconds(modules[fold], inputs[fold]))
    plain, folded = (1000 * float(np.median(times[fold])) / BATCH for fold in (False, True))
    print(f"plain {plain:.1f} ms an image, folded {folded:.1f} ms an image: {plain / folded:.1f} times as fast")


if __name__ == "__main__":
    main()
