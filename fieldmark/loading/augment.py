"""The only door to albumentations: corruptions for tests, augmentation for training, each seeded per sample.

albumentations seeds every transform of a pipeline alike, so that "mirrored" would imply "recoloured"; here each one
gets a seed of its own.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from fieldmark.core import telemetry
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import fingerprint
from fieldmark.loading.corruptions import TABLE, table_sha256
from fieldmark.loading.sources import Pixels


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


def corruptions_sha256() -> str:
    """Return the sha256 of the table of corruptions, as this version of the library understands it."""
    return table_sha256(_library())


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
    name, _, severity = corruption.partition(":")
    if name not in TABLE or severity not in {"1", "2", "3", "4", "5"}:
        raise FieldmarkError(
            f"no corruption is called '{corruption}': write <family>:<1-5> with a family of {list(TABLE)}."
        )
    library, family = _library(), TABLE[name]
    return library.Compose([family.transform(library, family.strengths[int(severity) - 1])])


def _seed(pipeline: Any, seed: int) -> None:
    for place, transform in enumerate(pipeline.transforms):
        transform.set_random_seed(seed + place)
