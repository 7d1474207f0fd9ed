"""Rendered pixels as batches; an example looks the same whatever the batch, the order or the number of workers."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fieldmark.core.contracts import Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.pixels import normalise
from fieldmark.loading.augment import augment
from fieldmark.loading.cache import Renders, open_pixels
from fieldmark.loading.keys import number
from fieldmark.loading.sources import Pixels

Ints = npt.NDArray[np.int64]
Rows = Callable[[np.random.Generator], Ints]
Example = tuple[Ints, Pixels, Pixels]  # (label, group, key), image, mask


def tokens(masks_NHW: Pixels, stride: int) -> npt.NDArray[np.float32]:
    """Return the share of each token (N, h, w) that is object, in [0, 1].

    Args:
        masks_NHW: 255 on the object.
        stride: Image pixels per token.

    Raises:
        FieldmarkError: the image is not a whole number of tokens wide and high.

    >>> tokens(np.array([[[255, 255], [255, 0]]], np.uint8), stride=2).tolist()
    [[[0.75]]]
    """
    count, height, width = masks_NHW.shape
    if height % stride or width % stride:
        raise FieldmarkError(
            f"size is {height} px, which is not a multiple of the backbone's stride of {stride} px: change size."
        )
    blocks = masks_NHW.reshape(count, height // stride, stride, width // stride, stride)
    return np.asarray((blocks > 127).mean(axis=(2, 4)), np.float32)


class PixelBatches:
    """The training part as rendered pixels: ``batches(epoch)`` yields ``(Batch, labels_B, groups_B)`` of one epoch.

    The order is a function of (seed, epoch), an example's augmentation of (seed, its key, epoch). ``rows`` draws what
    an epoch shows; by default every row comes once, in random order.
    """

    def __init__(
        self,
        renders: Renders,
        labels_N: Ints,
        groups_N: Ints,
        keys_N: Ints,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        stride: int,
        batch: int,
        seed: int,
        augmented: bool = True,
        workers: int = 0,
        device: str = "cpu",
        rows: Rows | None = None,
    ) -> None:
        tokens(renders.masks_UHW[:0], stride)  # refused here, where people see it, not in a worker
        self._mean, self._std, self._device = mean, std, device
        self._order = _Order(rows or (lambda draw: draw.permutation(len(labels_N))), batch, seed)
        self._loader = DataLoader(
            _Examples(renders, np.stack([labels_N, groups_N, keys_N], axis=1), seed, augmented),
            batch_sampler=self._order,
            collate_fn=partial(_stack, stride=stride),
            num_workers=workers,
            worker_init_fn=_start_worker,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,  # a fork would copy locks that other threads hold
            pin_memory=device.startswith("cuda"),
        )

    def __call__(self, epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        """Yield one epoch's batches; the last one may be smaller, or larger by one."""
        self._order.epoch = epoch
        for examples in self._loader:  # pixels as bytes: a quarter of the floats' size
            targets_B3, images_BHW3, object_Bhw = (part.to(self._device, non_blocking=True) for part in examples)
            labels_B, groups_B, keys_B = targets_B3.unbind(1)
            yield Batch(normalise(images_BHW3, self._mean, self._std), object_Bhw, keys_B), labels_B, groups_B


class _Order:
    """Batches of (epoch, row); the epoch travels with the row, since workers outlive it.

    An example that would be left alone joins the batch before: batch normalisation needs two values of a channel.
    """

    def __init__(self, rows: Rows, batch: int, seed: int) -> None:
        self.rows, self.batch, self.seed, self.epoch = rows, batch, seed, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = self.rows(np.random.default_rng([self.seed, self.epoch])).tolist()
        starts = range(0, len(order) - (1 < self.batch < len(order)), self.batch)
        for start, stop in pairwise([*starts, len(order)]):
            yield [(self.epoch, row) for row in order[start:stop]]


class _Examples(Dataset[Example]):
    """One example by (epoch, row), its pixels read from the cache's files: a memory map can't be sent to a worker."""

    def __init__(self, renders: Renders, targets_N3: Ints, seed: int, augmented: bool) -> None:
        self.folder, self.rows_N = renders.folder, renders.rows_N
        self.targets_N3, self.seed, self.augmented = targets_N3, seed, augmented

    def __getitem__(self, item: tuple[int, int]) -> Example:
        epoch, row = item
        images_UHW3, masks_UHW = _opened(self.folder)
        image_HW3, mask_HW = images_UHW3[self.rows_N[row]], masks_UHW[self.rows_N[row]]
        if self.augmented:
            image_HW3, mask_HW = augment(image_HW3, mask_HW, number(self.seed, self.targets_N3[row, 2], epoch))
        return self.targets_N3[row], image_HW3, mask_HW


@lru_cache(maxsize=2)
def _opened(folder: Path) -> tuple[Pixels, Pixels]:
    return open_pixels(folder)


def _stack(examples: list[Example], stride: int) -> tuple[Tensor, Tensor, Tensor]:
    targets_B3, images_BHW3, masks_BHW = (np.stack(column) for column in zip(*examples, strict=True))
    object_Bhw = tokens(masks_BHW, stride)
    return torch.from_numpy(targets_B3), torch.from_numpy(images_BHW3), torch.from_numpy(object_Bhw)


def _start_worker(_worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)  # the processes are the parallelism
