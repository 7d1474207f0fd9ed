"""Any feature extractor that ``transformers``' AutoBackbone can load, by name or from a config."""

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone
from fieldmark.core.errors import FieldmarkError

IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}  # of almost every model on the hub
PROBE = 224  # px, side of the image that shows how many pixels a token is


def load(name: str | None = None, config: dict[str, Any] | None = None, seed: int = 0) -> Backbone:
    """Return the last feature map of a pretrained or randomly initialised network, frozen.

    Args:
        name: of a model on the Hugging Face hub, or a folder that holds one; only safetensors weights are read.
        config: instead of ``name``, a ``transformers`` configuration with its ``model_type``: random weights.
        seed: of the random weights.

    Raises:
        FieldmarkError: neither or both of ``name`` and ``config``; the model can't be had, or is not a backbone.
    """
    if (name is None) == (config is None):
        raise FieldmarkError(
            "the hub backbone needs either `name` or `config` under backbone.options, not both and not neither."
        )
    if name is not None:
        network, pixels = _pretrained(name)
    else:
        network, pixels = _initialised(dict(config or {}), seed), IMAGENET
    module = LastMap(network).eval().requires_grad_(False)
    with torch.inference_mode():
        shape = module(torch.zeros(1, 3, PROBE, PROBE)).shape
    mean, std = (tuple(pixels[key]) for key in IMAGENET)
    return Backbone(module, shape[1], PROBE // shape[2], mean, std, _fingerprint(module))


class LastMap(nn.Module):
    """The last feature map (B, C, h, w); of a ViT, transformers drops the prefix tokens and makes the others a grid."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_B3HW: Tensor) -> Tensor:
        """Return the map of normalised images."""
        last_BCHW: Tensor = self.network(x_B3HW).feature_maps[-1]
        return last_BCHW


def _pretrained(name: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network and how its pixels are normalised."""
    import transformers

    auto: Any = transformers.AutoBackbone  # it has no types; its from_pretrained takes no folder (transformers 5.23)
    try:
        config = transformers.AutoConfig.from_pretrained(name)
        with torch.device("meta"):
            architecture = type(auto.from_config(config))
        network = architecture.from_pretrained(name, use_safetensors=True)
        pixels, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError) as error:  # no network, no such model, no safetensors; or not a backbone
        raise FieldmarkError(
            f"the backbone '{name}' can't be loaded ({' '.join(str(error).split())[:200]}): "
            "check its name and the network, or give the folder of a local copy."
        ) from error
    return network, {**IMAGENET, **pixels}


def _initialised(config: dict[str, Any], seed: int) -> nn.Module:
    """Return a network with random weights; the state of torch's generator is left as found."""
    import transformers

    auto: Any = transformers.AutoBackbone  # it has no types
    try:
        described = transformers.AutoConfig.for_model(**config)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network: nn.Module = auto.from_config(described)
    except (TypeError, ValueError) as error:  # an unknown model_type, or one without a backbone
        raise FieldmarkError(
            f"backbone.options.config is no backbone ({' '.join(str(error).split())[:200]})."
        ) from error
    return network


def _fingerprint(module: nn.Module) -> str:
    """Return the sha256 over names, types, shapes and bytes of the weights."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
