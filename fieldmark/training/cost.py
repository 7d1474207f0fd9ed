"""What an answer costs, and a step of training.

Parameters and multiply-adds are exact and belong with the results. Seconds belong to a machine and a moment: they are
taken side by side and told as ratios (``bench/cost.py``).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fieldmark.core.contracts import Backbone, Batch, Fill, Output
from fieldmark.layers import macs
from fieldmark.training.fit import Objective, fit
from fieldmark.training.phases import phases


class Way(nn.Module):
    """All that an image goes through, from normalised pixels to an answer.

    That is the model; before it the frozen backbone, if the model is one on features; and the backbone again for every
    crop of a second look. Decoding, cropping and resizing are no part of it.
    """

    def __init__(self, module: nn.Module, backbone: Backbone, *, on_pixels: bool) -> None:
        super().__init__()
        self.module, self.stride = module, backbone.stride
        self.backbone = None if on_pixels else backbone.module  # a model on pixels holds its own
        self.eval()

    def forward(self, x_B3HW: Tensor) -> Output:
        """Classify normalised images."""
        output: Output = self.module(self.batch(x_B3HW))
        return output

    def batch(self, x_B3HW: Tensor) -> Batch:
        """Return what the model sees of images; a second look shows whole images again: they cost what crops cost."""
        examples, _, height, width = x_B3HW.shape

        def look(boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
            return torch.cat([self._seen(x_B3HW) for _ in range(boxes_Bn3.shape[1])], 3)

        object_Bhw = x_B3HW.new_ones(examples, height // self.stride, width // self.stride)
        key_B = torch.arange(examples, device=x_B3HW.device)
        return Batch(self._seen(x_B3HW), object_Bhw, key_B, look, pixels=lambda: x_B3HW)

    def _seen(self, x_B3HW: Tensor) -> Tensor:
        if self.backbone is None:
            return x_B3HW
        device = x_B3HW.device.type
        with torch.no_grad(), torch.autocast(device, torch.float16, enabled=device != "cpu"):  # as ``embed`` does
            features_BCHW: Tensor = self.backbone(x_B3HW)
        return features_BCHW.float()


def cost(way: Way, x_B3HW: Tensor) -> dict[str, int]:
    """Return what no clock is needed for.

    Args:
        way: from pixels to an answer.
        x_B3HW: normalised images. One of zeros will do, unless the model does less for some images than for others.

    Returns:
        ``parameters``: all of the way; ``learned``: those that training changes; ``macs``: multiply-adds of
        convolutions, matrix products and attention for one image, a mean over those given.
    """
    with plain_attention():
        whole = macs.cost(way, x_B3HW)
    return {"parameters": whole.parameters, "learned": learned(way.module), "macs": whole.macs // len(x_B3HW)}


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention as matrix products: torch's counter misses the fused kinds, some on a CPU, some everywhere."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def learned(module: nn.Module) -> int:
    """Return how many parameters change in one phase of training or another; the module is left as it is.

    >>> learned(nn.Linear(2, 3)), learned(nn.Linear(2, 3).requires_grad_(False))
    (9, 0)
    """
    copy, found = deepcopy(module), dict[nn.Parameter, int]()
    for _, part in phases(copy):  # each fixes what the next one does not train
        found |= {parameter: parameter.numel() for parameter in part.parameters() if parameter.requires_grad}
    return sum(found.values())


def answering(way: Way, x_B3HW: Tensor) -> Callable[[], None]:
    """Return a call that classifies images, from pixels on."""

    def answer() -> None:
        with torch.inference_mode():
            way(x_B3HW)

    return answer


def learning(way: Way, x_B3HW: Tensor, labels_B: Tensor, objective: Objective, *, batches: int) -> Callable[[], None]:
    """Return a call that trains a copy of the model, each of its phases, for an epoch of ``batches`` equal batches.

    It is the loop that trains cells, on what cells are trained on: features that are in memory, second looks too.
    """
    told = remembered(way.batch(x_B3HW)), labels_B, torch.zeros_like(labels_B)

    def learn() -> None:
        for _, part in phases(deepcopy(way.module)):
            fit(
                part,
                lambda _epoch: [told] * batches,
                objective=objective,
                epochs=1,
                lr=1e-3,
                weight_decay=1e-4,
                device=str(x_B3HW.device),
            )

    return learn


def remembered(batch: Batch) -> Batch:
    """Return the batch with a second look that looks once and remembers, as from the second epoch on."""
    look, memory = batch.look, dict[int, Tensor]()
    assert look is not None  # a way's batches can be looked at again

    def recall(boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
        count = boxes_Bn3.shape[1]
        if count not in memory:
            memory[count] = look(boxes_Bn3, keep_Bhw, fill)
        return memory[count]

    return batch._replace(look=recall)


def side_by_side(
    calls: Mapping[str, Callable[[], None]], *, rounds: int, device: str = "cpu"
) -> dict[str, list[float]]:
    """Return the seconds of each call in each round.

    The calls take turns, so that whatever else the machine does slows all of them: the ratio of two calls in the same
    round is what can be told of them. A round before the first warms up and is not kept.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            wait(device)
            start = time.perf_counter()
            call()
            wait(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def wait(device: str) -> None:
    """Wait until the device has done all that it was told: a GPU answers before it is finished."""
    if device != "cpu":
        torch.cuda.synchronize(device)
