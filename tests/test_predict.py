"""Examples are the rows they were asked for, each once an epoch, and answers to them keep their order."""

import math

import numpy as np
import pytest
import torch
from small_training import CHANNELS, CLASSES, examples, gated
from torch import nn

from fieldmark.training import heads
from fieldmark.training.predict import Prediction, kept_probability, measures, predict


def test_epochs_see_every_example_once_in_an_order_of_their_own() -> None:
    data = examples()
    batches = heads.shuffled(data, batch=16, seed=5)

    def order(source: object, epoch: int) -> list[int]:
        return [int(key) for batch, _, _ in source(epoch) for key in batch.key_B]

    assert sorted(order(batches, 0)) == list(range(40)) and order(batches, 0) != order(batches, 1)
    assert order(batches, 1) == order(heads.shuffled(data, batch=16, seed=5), 1)
    assert order(batches, 0) != order(heads.shuffled(data, batch=16, seed=6), 0)
    for batch, labels_B, groups_B in batches(0):
        assert batch.key_B is not None and batch.object_Bhw is not None
        assert torch.equal(batch.x_BCHW, data.x_NCHW[batch.key_B])
        assert torch.equal(batch.object_Bhw, data.objects_Nhw[batch.key_B])
        assert torch.equal(labels_B, data.labels_N[batch.key_B]) and torch.equal(groups_B, data.groups_N[batch.key_B])


def test_examples_are_rows_of_the_store() -> None:
    features_NhwC = np.arange(4 * 2 * 1 * 3, dtype=np.float16).reshape(4, 2, 1, 3)
    data = heads.examples(
        features_NhwC, np.array([2, 0]), labels=[0, 1], groups=[0, 1], objects_Nhw=np.ones((2, 2, 1), np.float32),
        keys=np.array([7, 8]),
    )  # fmt: skip
    assert data.x_NCHW.dtype == torch.float32 and data.x_NCHW.shape == (2, 3, 2, 1)
    assert np.array_equal(data.x_NCHW.permute(0, 2, 3, 1).numpy(), features_NhwC[[2, 0]])


def test_predictions_keep_their_order_whatever_the_batch() -> None:
    module, data = gated(), examples()
    whole = predict(module, heads.in_order(data, batch=40))
    parts = predict(module, heads.in_order(data, batch=7))
    assert whole.probabilities_NK.shape == (40, CLASSES) and whole.masks_Nhw.shape == (40, 3, 3)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(whole.probabilities_NK.sum(1), 1, rtol=1e-5)


def test_kept_probability_is_the_labels_with_only_those_tokens() -> None:
    module, data = gated(), examples()
    probability = kept_probability(module, lambda: heads.in_order(data, batch=7))
    linear = next(part for part in module.modules() if isinstance(part, nn.Linear) and part.out_features == CLASSES)
    keep_Nhw = np.zeros((40, 3, 3), dtype=bool)
    keep_Nhw[:, 1, 1] = True
    with torch.no_grad():
        expected_NK = linear(data.x_NCHW[:, :, 1, 1] / 9).softmax(1)
        nothing_NK = linear(torch.zeros(40, CHANNELS)).softmax(1)
    expected_N = expected_NK[torch.arange(40), data.labels_N]
    np.testing.assert_allclose(probability(keep_Nhw), expected_N.numpy(), rtol=1e-5)
    nothing_N = nothing_NK[torch.arange(40), data.labels_N]
    np.testing.assert_allclose(probability(np.zeros((40, 3, 3), bool)), nothing_N.numpy(), rtol=1e-5)


def test_measures_by_hand() -> None:
    said = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    found = measures(Prediction(said, np.ones((4, 1, 1), np.float32), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 1])))
    loss = -(math.log(0.9) + math.log(0.4) + math.log(0.8) + math.log(0.5)) / 4
    assert found == pytest.approx({"val_loss": loss, "val_accuracy": 0.5, "val_worst_group": 0.5}, rel=1e-5)
