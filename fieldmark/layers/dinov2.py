"""DINOv2's weights (arXiv 2304.07193, 2309.16588), under the names of ``transformers``, in a ``Vit``."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.vit import Vit

FIRST = "embeddings.cls_token"  # by which the weights are found in whatever holds them
ATTENTION = {  # names of transformers < 5 and of what was exported from them -> today's
    "attention.attention.query.": "attention.q_proj.",
    "attention.attention.key.": "attention.k_proj.",
    "attention.attention.value.": "attention.v_proj.",
    "attention.output.dense.": "attention.o_proj.",
}
BLOCK = {  # ours -> theirs
    "norm1.weight": "norm1.weight", "norm1.bias": "norm1.bias",
    "norm2.weight": "norm2.weight", "norm2.bias": "norm2.bias",
    "scale1_D": "layer_scale1.lambda1", "scale2_D": "layer_scale2.lambda1",
    "attention.out.weight": "attention.o_proj.weight", "attention.out.bias": "attention.o_proj.bias",
    "fc1.weight": "mlp.fc1.weight", "fc1.bias": "mlp.fc1.bias",
    "fc2.weight": "mlp.fc2.weight", "fc2.bias": "mlp.fc2.bias",
}  # fmt: skip


def inside(module: nn.Module) -> Vit:
    """Return a copy, free to learn, of the ViT that a backbone is or holds.

    Raises:
        FieldmarkError: it holds no ViT of DINOv2's shape.
    """
    if isinstance(module, Vit):
        return deepcopy(module).requires_grad_(True)
    state = module.state_dict()
    prefix = next((name.removesuffix(FIRST) for name in state if name.endswith(FIRST)), None)
    config: Any = next((part.config for part in module.modules() if hasattr(part, "config")), None)
    if prefix is None or config is None:
        raise FieldmarkError(
            f"the backbone ({type(module).__name__}) holds no ViT: use the backbone vit_focus, or hub with a DINOv2, "
            "or `weights: random`."
        )
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return assemble(found, config.num_attention_heads)


def assemble(state: Mapping[str, Tensor], heads: int) -> Vit:
    """Return the ViT with these weights; the class token's position is added to it once and for all.

    Raises:
        FieldmarkError: a weight is missing: another architecture (SwiGLU, for instance).
    """
    named = {_today(name): value for name, value in state.items()}
    try:
        return _assembled(named, heads)
    except KeyError as missing:
        raise FieldmarkError(
            f"the weights are not those of a ViT of DINOv2's shape: there is no {missing}; use another backbone."
        ) from None


def _assembled(named: Mapping[str, Tensor], heads: int) -> Vit:
    kernel_D3pp, position_1ND = (
        named[f"embeddings.{name}"] for name in ("patch_embeddings.projection.weight", "position_embeddings")
    )
    depth, side = sum(name.endswith(".norm1.bias") for name in named), round((position_1ND.shape[1] - 1) ** 0.5)
    prefix = [named[FIRST] + position_1ND[:, :1], *(named[name] for name in named if name.endswith("register_tokens"))]
    ours = {
        "prefix_1QD": torch.cat(prefix, 1),
        "position_1Dhw": position_1ND[:, 1:].mT.reshape(1, -1, side, side),
        "embedding.weight": kernel_D3pp,
        "embedding.bias": named["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": named["layernorm.weight"],
        "norm.bias": named["layernorm.bias"],
    }
    for index in range(depth):
        there = f"encoder.layer.{index}"
        ours |= {f"blocks.{index}.{name}": named[f"{there}.{theirs}"] for name, theirs in BLOCK.items()}
        for kind in ("weight", "bias"):
            parts = [named[f"{there}.attention.{which}_proj.{kind}"] for which in "qkv"]
            ours[f"blocks.{index}.attention.qkv.{kind}"] = torch.cat(parts)
    registers = ours["prefix_1QD"].shape[1] - 1
    with torch.device("meta"):  # draws no random weights, which would be overwritten at once
        vit = Vit(
            dim=len(kernel_D3pp), depth=depth, heads=heads, patch=kernel_D3pp.shape[2], grid=(side, side),
            registers=registers, hidden=len(named["encoder.layer.0.mlp.fc1.bias"]),
            antialias=registers > 0,  # of the two DINOv2, the one with registers interpolates its positions so
        )  # fmt: skip
    vit.load_state_dict({name: value.detach().clone() for name, value in ours.items()}, assign=True)
    return vit.requires_grad_(True)


def _today(name: str) -> str:
    for old, new in ATTENTION.items():
        name = name.replace(old, new)
    return name
