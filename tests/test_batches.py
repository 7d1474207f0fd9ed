"""Augmentation, and the batches that training sees."""

import json

import numpy as np
import pytest
from fish import MANY, SIZE, kept, only

from fieldmark.core.errors import FieldmarkError
from fieldmark.loading import augment
from fieldmark.loading.batches import PixelBatches, tokens
from fieldmark.loading.cache import rendered
from fieldmark.loading.keys import keys


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("raw"))


def test_augmentation_moves_the_mask_with_the_image():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 5:40] = 255
    for seed in range(5):
        image_HW3, mask_HW = augment.augment(mask[..., None].repeat(3, 2), mask, seed)
        assert ((image_HW3[..., 0] > 127) == (mask_HW > 127)).mean() > 0.97  # bilinear against nearest, at the edge
        assert (augment.augment(mask[..., None].repeat(3, 2), mask, seed)[0] == image_HW3).all()


def test_mirror_and_colour_are_drawn_independently():
    ramp = np.full((32, 32, 3), 100, np.uint8)
    ramp[:, 16:] = 200
    seen = set()
    for seed in range(60):
        image, _ = augment.augment(ramp, ramp[..., 0], seed)
        left, right = image[16, 0].tolist(), image[16, -1].tolist()
        seen.add((left > right, sorted([left, right]) != [[100] * 3, [200] * 3]))
    assert len(seen) == 4  # mirrored or not, recoloured or not


def test_pipeline_sha256_names_the_augmentation():
    assert augment.pipeline_sha256(64) == augment.pipeline_sha256(64) != augment.pipeline_sha256(32)
    described = augment._library().to_dict(augment._training(64))
    assert described["__version__"] and "RandomResizedCrop" in json.dumps(described)


def test_keys_are_int64_and_distinct():
    numbers = keys(f"test-{row:05d}" for row in range(1000))
    assert numbers.dtype == np.int64 and len(set(numbers.tolist())) == 1000 and numbers.min() >= 0


def test_tokens_are_shares_of_object():
    mask = only(np.s_[0:4, 0:2])
    assert tokens(mask[None], stride=4).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]
    with pytest.raises(FieldmarkError, match="not a multiple of the backbone's stride of 3 px"):
        tokens(mask[None], stride=3)


def epoch_of(renders, epoch, **changes):
    """One epoch as {key: (pixels, object share, label, group)}, and the order of keys."""
    count = len(renders.rows_N)
    settings = {"mean": (0.0, 0.5, 0.0), "std": (1.0, 0.5, 1.0), "stride": 4, "batch": 7, "seed": 0, "augmented": True}
    numbers = np.arange(count)
    batches = PixelBatches(renders, numbers % 2, numbers % 4, numbers + 100, **(settings | changes))
    examples = {}
    for batch, labels, groups in batches(epoch):
        for row, key in enumerate(batch.key_B.tolist()):
            values = batch.x_BCHW[row], batch.object_Bhw[row], labels[row], groups[row]
            examples[key] = [value.numpy().tobytes() for value in values]
    return examples, list(examples)


@pytest.fixture(scope="module")
def renders(sources, tmp_path_factory):
    return rendered(MANY, sources, SIZE, tmp_path_factory.mktemp("cache"))


def test_batches_do_not_depend_on_workers_or_batch_size(renders):
    one, order = epoch_of(renders, 1)
    assert sorted(order) == list(range(100, 133))  # each example once
    assert epoch_of(renders, 1, workers=2) == (one, order)
    assert epoch_of(renders, 1, batch=5) == (one, order)


@pytest.mark.parametrize(("batch", "sizes"), [(16, [16, 17]), (32, [33]), (31, [31, 2]), (1, [1] * 33), (64, [33])])
def test_no_example_is_left_alone(renders, batch, sizes):
    same = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "stride": 4, "seed": 0}
    epoch = PixelBatches(renders, *[np.arange(33)] * 3, batch=batch, **same)(0)
    assert [len(labels) for _, labels, _ in epoch] == sizes


def test_epochs_and_seeds_differ_in_order_and_pixels(renders):
    one, order = epoch_of(renders, 1)
    for other, other_order in (epoch_of(renders, 2), epoch_of(renders, 1, seed=1)):
        assert other_order != order and other != one


def test_batches_are_normalised_and_labelled(renders):
    batches = PixelBatches(
        renders, np.arange(33) % 2, np.arange(33) % 4, np.arange(33), mean=(0.0, 0.5, 0.0), std=(1.0, 0.5, 1.0),
        stride=4, batch=33, seed=0, augmented=False,
    )  # fmt: skip
    ((batch, labels, groups),) = batches(0)
    for row, key in enumerate(batch.key_B.tolist()):
        image = renders.images_UHW3[renders.rows_N[key]].astype(np.float32) / 255
        assert batch.x_BCHW[row, 0].numpy() == pytest.approx(image[..., 0])
        assert batch.x_BCHW[row, 1].numpy() == pytest.approx((image[..., 1] - 0.5) / 0.5, abs=1e-6)
        assert (labels[row], groups[row]) == (key % 2, key % 4)
    assert batch.object_Bhw[0].tolist() == [[0.125, 0.125], [0.125, 0.125]]  # 2 of each token's 16 pixels
