"""A small iFAM, small ViTs of DINOv2's shape, and what they are shown."""

from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.models import ifam
from fieldmark.training.fit import initialised

LABELS, PATCH, PARTS = 3, 4, 4
NOWHERE = Backbone(nn.Identity(), 1, PATCH, (0.5,) * 3, (0.5,) * 3, "")
DINO = {
    "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14,
    "image_size": 28, "mlp_ratio": 2, "layerscale_value": 0.7,
}  # fmt: skip
REGISTERS = {**DINO, "model_type": "dinov2_with_registers", "num_register_tokens": 3}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(**options: Any) -> ifam.Ifam:
    small = {"dim": 32, "depth": 2, "heads": 2, "grid": (4, 6), "parts": PARTS}
    module = initialised(lambda: ifam.build(NOWHERE, LABELS, **{**small, **options}), 0)
    assert isinstance(module, ifam.Ifam)
    return module.eval()


def pictures(count: int = 6, seed: int = 0) -> Batch:
    return Batch(noise(count, 3, 16, 24, seed=seed))
