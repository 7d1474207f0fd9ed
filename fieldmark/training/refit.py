"""A trained model's last layer anew: what comes into it is caught, and what another method makes of that put back."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.training.fit import Triples, move

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Solve(Protocol):
    """Make a linear layer: weights (K, C) and bias (K,)."""

    def __call__(self, x_NC: Floats, labels_N: Ints, groups_N: Ints) -> tuple[Floats, Floats]:
        """Return the layer for standardised inputs."""


class Pooled(NamedTuple):
    """What comes into the last layer for N examples."""

    x_NC: Floats
    labels_N: Ints
    groups_N: Ints


def refit(module: nn.Module, solve: Solve, train: Triples, fitted: Triples, *, device: str = "cpu") -> None:
    """Replace the last layer of ``module`` by the one that ``solve`` finds; nothing else changes.

    The layer takes inputs as they come: standardisation, by mean and deviation over ``train``, is multiplied into it.

    Args:
        module: gives its answers by a part named ``linear``.
        solve: finds the layer.
        train: gives mean and deviation.
        fitted: what ``solve`` sees; may be the same.
        device: where to compute.

    Raises:
        FieldmarkError: there is not one layer ``linear`` that learnt, or the answers are not what it gives.
    """
    from sklearn.preprocessing import StandardScaler

    linear = last_linear(module)
    scaler = StandardScaler().fit(pooled(module, linear, train, device).x_NC)
    seen = pooled(module, linear, fitted, device)
    weight_KC, bias_K = solve(scaler.transform(seen.x_NC), seen.labels_N, seen.groups_N)
    weight_KC = weight_KC / scaler.scale_
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight_KC))
        linear.bias.copy_(torch.from_numpy(bias_K - weight_KC @ scaler.mean_))


def last_linear(module: nn.Module) -> nn.Linear:
    """Return the one part named ``linear`` whose weights and bias learn.

    Raises:
        FieldmarkError: there is none, or more than one.

    >>> last_linear(nn.ModuleDict({"linear": nn.Linear(3, 2)}))
    Linear(in_features=3, out_features=2, bias=True)
    """
    found = [
        part
        for name, part in module.named_modules()
        if name.split(".")[-1] == "linear"
        and isinstance(part, nn.Linear)
        and part.weight.requires_grad
        and part.bias is not None
    ]
    if len(found) != 1:
        raise FieldmarkError(
            f"a {type(module).__name__} has {len(found)} layers named 'linear' that learn a weight and a bias, and "
            "fitting the last layer anew needs one: use a model that ends in one, such as erm or ersm."
        )
    return found[0]


def pooled(module: nn.Module, linear: nn.Linear, batches: Triples, device: str) -> Pooled:
    """Return what comes into ``linear``, in the order of the batches.

    Raises:
        FieldmarkError: the answers are not what the layer gives, so that another layer would mean something else.
    """
    calls: list[tuple[Tensor, Tensor]] = []
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    module.to(device).eval()
    hook = linear.register_forward_hook(lambda _, given, made: calls.append((given[0], made)))
    try:
        with torch.inference_mode():
            for batch, labels_B, groups_B in batches:
                calls.clear()
                output: Output = module(move(batch, device))
                if len(calls) != 1 or not torch.equal(calls[0][1], output.logits_BK):
                    raise FieldmarkError(
                        f"a {type(module).__name__} makes more of its answers than one pass through its layer "
                        "'linear': that layer can't be fitted alone; use a model that ends in it, such as erm or ersm."
                    )
                parts.append((calls[0][0].double().cpu(), labels_B.cpu(), groups_B.cpu()))
    finally:
        hook.remove()
    return Pooled(*(torch.cat(column).numpy() for column in zip(*parts, strict=True)))
