"""Features of rendered images, computed once by a frozen backbone."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from fieldmark.core.contracts import Backbone
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.pixels import normalise


def embed(
    backbone: Backbone,
    images_NHW3: npt.NDArray[np.uint8],
    into_NhwC: npt.NDArray[np.float16],
    *,
    batch: int,
    device: str = "cpu",
    progress: str = "",
) -> None:
    """Write the feature map of every image into ``into_NhwC`` (a memory map, for instance).

    Every batch is full, the last one filled up: the arithmetic then depends on the batch's size, the device and the
    number of threads, not on which images share a batch, and the same image gives the same bytes wherever it stands.

    Args:
        backbone: the feature extractor; moved to ``device``.
        images_NHW3: pixels in 0..255.
        into_NhwC: where row i becomes the map of image i.
        batch: images at a time.
        device: ``cpu`` or ``cuda``; on the latter in half precision, as features are stored.
        progress: what the progress bar says; none if empty.

    Raises:
        FieldmarkError: a feature is not finite, or exceeds what half precision holds (65504).
    """
    module = backbone.module.to(device).eval()
    starts = range(0, len(images_NHW3), batch)
    for start in tqdm(starts, desc=progress, unit="batch", disable=not progress):
        taken = np.minimum(np.arange(start, start + batch), len(images_NHW3) - 1)
        x_B3HW = normalise(_to(images_NHW3[taken], device), backbone.mean, backbone.std)
        with torch.inference_mode(), torch.autocast(torch.device(device).type, torch.float16, enabled=device != "cpu"):
            features_BhwC = module(x_B3HW).permute(0, 2, 3, 1).half().cpu()
        if not features_BhwC.isfinite().all():
            raise FieldmarkError(
                f"images {start} to {int(taken[-1])} have features that are not finite or beyond 65504: "
                "check the backbone's weights, mean and std."
            )
        into_NhwC[start : start + batch] = features_BhwC[: len(images_NHW3) - start].numpy()


def _to(images_BHW3: npt.NDArray[np.uint8], device: str) -> Tensor:
    """Copy images to the device; from pinned memory, so that a GPU need not wait for the copy."""
    pixels = torch.from_numpy(images_BHW3)
    return pixels if device == "cpu" else pixels.pin_memory().to(device, non_blocking=True)
