"""The only door to albumentations: corruptions for tests, augmentation for training, each seeded per sample.

albumentations seeds every transform of a pipeline alike, so that "mirrored" would imply "recoloured"; here each one
gets a seed of its own.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from fieldmark.core import telemetry
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import fingerprint
from fieldmark.core.tables import CORRUPTIONS
from fieldmark.loading.sources import Pixels

#: Strength at severities 1 to 5, as in ImageNet-C (arXiv 1903.12261); part of what RENDERER_VERSION stands for.
SEVERITIES: dict[str, tuple[float, ...]] = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, as a fraction of the range of values
    "gaussian_blur": (1, 2, 3, 4, 6),  # standard deviation, px
    "jpeg": (25, 18, 15, 10, 7),  # quality
}


def corrupt(image_HW3: Pixels, corruption: str, seed: int) -> Pixels:
    """Return the image under ``"<family>:<severity>"``; the same seed gives the same bytes.

    Raises:
        FieldmarkError: no such family, or a severity outside 1 to 5.
    """
    pipeline = _corruption(corruption)
    _seed(pipeline, seed)
    return np.asarray(pipeline(image=image_HW3)["image"], np.uint8)


def augment(image_HW3: Pixels, mask_HW: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Return image and mask under the training augmentation: resized crop, mirror, mild colour jitter."""
    pipeline = _training(image_HW3.shape[0])
    _seed(pipeline, seed)
    changed = pipeline(image=image_HW3, mask=mask_HW)
    return np.asarray(changed["image"], np.uint8), np.asarray(changed["mask"], np.uint8)


def pipeline_sha256(size: int) -> str:
    """Return the sha256 of the training augmentation, its parameters and the library's version: for lineage."""
    return fingerprint(_library().to_dict(_training(size)))


def _library() -> Any:
    telemetry.silence()  # before the import, which looks for updates on the network otherwise
    import albumentations

    return albumentations


@lru_cache
def _training(size: int) -> Any:
    library = _library()
    return library.Compose(
        [
            library.RandomResizedCrop(size=(size, size), scale=(0.7, 1.0), p=1.0),
            library.HorizontalFlip(p=0.5),
            library.ColorJitter(
                brightness=(0.8, 1.2), contrast=(0.8, 1.2), saturation=(0.8, 1.2), hue=(-0.02, 0.02), p=0.8
            ),
        ]
    )


@lru_cache
def _corruption(corruption: str) -> Any:
    family, _, severity = corruption.partition(":")
    if family not in CORRUPTIONS or severity not in {"1", "2", "3", "4", "5"}:
        raise FieldmarkError(
            f"no corruption is called '{corruption}': write <family>:<1-5> with a family of {list(CORRUPTIONS)}."
        )
    library, strength = _library(), SEVERITIES[family][int(severity) - 1]
    build: dict[str, Callable[[Any], Any]] = {
        "gaussian_noise": lambda std: library.GaussNoise(std_range=(std, std), p=1.0),
        "gaussian_blur": lambda sigma: library.GaussianBlur(blur_limit=0, sigma_limit=(sigma, sigma), p=1.0),
        "jpeg": lambda quality: library.ImageCompression(quality_range=(quality, quality), p=1.0),
    }
    return library.Compose([build[family](strength)])


def _seed(pipeline: Any, seed: int) -> None:
    for place, transform in enumerate(pipeline.transforms):
        transform.set_random_seed(seed + place)
