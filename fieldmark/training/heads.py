"""Batches of embedded features, held in memory."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldmark.core.contracts import Batch
from fieldmark.training.fit import Batches, Rows


class Examples(NamedTuple):
    """N examples as a model on features sees them."""

    x_NCHW: Tensor  # float32, channels last
    labels_N: Tensor  # int64
    groups_N: Tensor  # int64
    objects_Nhw: Tensor  # float32, share of each token that is object
    keys_N: Tensor  # int64
    attributes_NA: Tensor  # float32: 1 has it, 0 has not, NaN unknown; A may be 0


def examples(
    features_NhwC: npt.NDArray[np.float16],
    rows: npt.NDArray[np.int64],
    *,
    labels: Sequence[int] | npt.NDArray[np.int64],
    groups: Sequence[int] | npt.NDArray[np.int64],
    objects_Nhw: npt.NDArray[np.float32],
    keys: npt.NDArray[np.int64],
    attributes_NA: npt.NDArray[np.float32] | None = None,
) -> Examples:
    """Take ``rows`` of a store of features into memory, in single precision; all else is in the order of ``rows``."""
    x_NhwC = torch.from_numpy(features_NhwC[rows].astype(np.float32))
    labels_N, groups_N = (torch.from_numpy(np.asarray(value, dtype=np.int64)) for value in (labels, groups))
    objects = torch.from_numpy(np.ascontiguousarray(objects_Nhw, dtype=np.float32))
    known = np.empty((len(rows), 0), np.float32) if attributes_NA is None else attributes_NA
    keys_N, attributes = torch.from_numpy(np.array(keys, np.int64)), torch.from_numpy(known)
    return Examples(x_NhwC.permute(0, 3, 1, 2), labels_N, groups_N, objects, keys_N, attributes)


def shuffled(examples: Examples, *, batch: int, seed: int, rows: Rows | None = None, device: str = "cpu") -> Batches:
    """Return the batches of each epoch, in an order that depends on ``seed`` and the epoch alone.

    Args:
        examples: the training part.
        batch: examples at a time.
        seed: of the order.
        rows: draws the rows of an epoch; by default every row once, in random order.
        device: where the examples are kept: a GPU holds features whole, and then no step waits for a copy.
    """
    examples = Examples(*(value.to(device) for value in examples))
    x_NhwC = examples.x_NCHW.permute(0, 2, 3, 1)  # as in memory: whole rows are copied several times as fast

    def batches(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        draw = np.random.default_rng((seed, epoch))
        order = rows(draw) if rows else draw.permutation(len(examples.labels_N))
        for taken in torch.split(torch.from_numpy(order).to(device, non_blocking=True), batch):
            x_BCHW = x_NhwC.index_select(0, taken).permute(0, 3, 1, 2)
            yield _batch(Examples(x_BCHW, *(value[taken] for value in examples[1:])))

    return batches


def in_order(examples: Examples, *, batch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Give the examples as they stand, as views."""
    for start in range(0, len(examples.labels_N), batch):
        yield _batch(Examples(*(value[start : start + batch] for value in examples)))


def _batch(some: Examples) -> tuple[Batch, Tensor, Tensor]:
    attributes_BA = some.attributes_NA if some.attributes_NA.shape[1] else None
    return Batch(some.x_NCHW, some.objects_Nhw, some.keys_N, None, attributes_BA), some.labels_N, some.groups_N
