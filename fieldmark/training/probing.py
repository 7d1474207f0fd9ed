"""What a trained model answers when what it sees, or what it has learned, is changed on purpose."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Batch
from fieldmark.training.fit import Triples, move
from fieldmark.training.predict import Floats, predict

Content = Literal["nothing", "turned"]


def kept_logit(
    module: nn.Module, batches: Callable[[], Triples], named_N: npt.NDArray[np.int64], *, device: str = "cpu"
) -> Callable[[npt.NDArray[np.floating]], Floats]:
    """Return the function from token weights (N, h, w) to the logit (N,) of the class that is named.

    What the model sees is weighed, and the model runs as it does: unlike a forced mask, its own goes on counting.
    """

    def logit(keep_Nhw: npt.NDArray[np.floating]) -> Floats:
        found, start = [], 0
        with torch.inference_mode():
            for batch, labels_B, _ in batches():
                stop = start + len(labels_B)
                keep_Bhw = torch.from_numpy(keep_Nhw[start:stop].astype(np.float32))
                weighed = move(batch._replace(x_BCHW=batch.x_BCHW * spread(keep_Bhw, batch.x_BCHW)), device)
                target_B1 = torch.from_numpy(named_N[start:stop]).to(device)[:, None]
                found.append(module(weighed).logits_BK.float().gather(1, target_B1).squeeze(1).cpu())
                start = stop
        return torch.cat(found).numpy()

    return logit


def forced_answers(module: nn.Module, batches: Callable[[], Triples], *, device: str = "cpu") -> Callable[..., Floats]:
    """Return the function from a forced mask to probabilities (N, K).

    It takes ``(keep_Nhw, outside_Nhw=None, content="nothing")``: where ``outside_Nhw`` is true, what the model sees is
    replaced by ``content`` first.
    """

    def probabilities(
        keep_Nhw: npt.NDArray[np.floating],
        outside_Nhw: npt.NDArray[np.bool_] | None = None,
        content: Content = "nothing",
    ) -> Floats:
        shown = batches() if outside_Nhw is None else replaced(batches(), outside_Nhw, content)
        return predict(module, shown, keep_Nhw=keep_Nhw.astype(np.float32), device=device).probabilities_NK

    return probabilities


def replaced(
    batches: Triples, outside_Nhw: npt.NDArray[np.bool_], content: Content
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Put ``content`` where tokens are outside: zeros, or what the same picture shows when turned by 180 degrees."""
    start = 0
    for batch, labels_B, groups_B in batches:
        x_BCHW, stop = batch.x_BCHW, start + len(labels_B)
        outside_B1HW = spread(torch.from_numpy(outside_Nhw[start:stop]).float(), x_BCHW) > 0
        other_BCHW = x_BCHW.flip(2, 3) if content == "turned" else torch.zeros_like(x_BCHW)
        yield batch._replace(x_BCHW=torch.where(outside_B1HW, other_BCHW, x_BCHW)), labels_B, groups_B
        start = stop


def noisy(batches: Triples, radius: float, draw: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Add noise, even in [-radius, radius] times an example's root mean square, by its key and ``draw`` alone."""
    for batch, labels_B, groups_B in batches:
        assert batch.key_B is not None  # the view's own batches have keys
        x_BCHW = batch.x_BCHW
        noise = [
            np.random.default_rng([key % 2**64, draw]).uniform(-radius, radius, x_BCHW.shape[1:])
            for key in batch.key_B.tolist()
        ]
        scale_B111 = x_BCHW.square().mean((1, 2, 3), keepdim=True).sqrt()
        noise_BCHW = torch.from_numpy(np.stack(noise).astype(np.float32)).to(x_BCHW.device)
        yield batch._replace(x_BCHW=x_BCHW + scale_B111 * noise_BCHW), labels_B, groups_B


def shuffled(module: nn.Module, draw: int) -> nn.Module:
    """Return a copy whose parameters each hold their values in another order: the sizes stay, what they meant is gone.

    Unlike weights drawn as before training, it spares nothing that starts pretrained and needs nothing that doesn't
    start at zero. A parameter of a single value stays as it is.

    >>> layer = nn.Linear(3, 1)
    >>> other = shuffled(layer, 0)
    >>> sorted(other.weight[0].tolist()) == sorted(layer.weight[0].tolist())
    True
    """
    other, generator = deepcopy(module), torch.Generator().manual_seed(draw)
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other


def spread(map_Bhw: Tensor, x_BCHW: Tensor) -> Tensor:
    """Return the map at the resolution of what is seen (B, 1, H, W): each pixel has its token's value.

    >>> spread(torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 3, 2, 4)).tolist()
    [[[[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]]]
    """
    size = (x_BCHW.shape[2], x_BCHW.shape[3])
    return nn.functional.interpolate(map_Bhw[:, None].to(x_BCHW.device), size=size, mode="nearest")
