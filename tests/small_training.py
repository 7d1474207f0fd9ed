"""Examples that are told apart by one channel of one token, a model that finds it, and settings to train it by."""

from typing import Any

import numpy as np
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone
from fieldmark.models import ersm
from fieldmark.training import heads
from fieldmark.training.fit import initialised

CHANNELS, CLASSES = 6, 3
BACKBONE = Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")


def examples(count: int = 40) -> heads.Examples:
    draw = np.random.default_rng(0)
    features_NhwC = draw.standard_normal((count, 3, 3, CHANNELS)).astype(np.float16)
    labels = draw.integers(0, CLASSES, count)
    features_NhwC[np.arange(count), 1, 1, labels] += 8
    shares = draw.random((count, 3, 3), dtype=np.float32)
    rows = np.arange(count)
    return heads.examples(features_NhwC, rows, labels=labels, groups=labels % 2, objects_Nhw=shares, keys=rows)


def mean_cross_entropy(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits_BK, labels_B)


def recipe(**changes: object) -> Any:
    return {"objective": mean_cross_entropy, "epochs": 4, "lr": 1e-2, "weight_decay": 1e-4, **changes}


def gated(seed: int = 0) -> nn.Module:
    return initialised(lambda: ersm.build(BACKBONE, CLASSES, bias_mode="scalar", bias_init=1.0), seed)


def bits(module: nn.Module) -> bytes:
    return b"".join(value.detach().contiguous().numpy().tobytes() for value in module.state_dict().values())
