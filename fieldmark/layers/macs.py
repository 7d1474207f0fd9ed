"""What a network costs: its parameters, and the multiply-adds of one call."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """Of a module and what it was called with."""

    parameters: int
    macs: int  # multiply-adds of convolutions, matrix products and attention; activations and norms are not counted


def cost(module: nn.Module, *inputs: object) -> Cost:
    """Return what calling ``module`` with ``inputs`` costs; torch counts while it runs, in evaluation mode.

    >>> cost(nn.Conv2d(8, 8, 3, groups=8, bias=False), torch.zeros(1, 8, 5, 5))  # 9 places, 8 channels, 9 weights
    Cost(parameters=72, macs=648)
    """
    training = module.training
    module.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(*inputs)  # attention as matrix products: fused on a CPU, it escapes the counter
    module.train(training)
    return Cost(sum(parameter.numel() for parameter in module.parameters()), counter.get_total_flops() // 2)
