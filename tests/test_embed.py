"""Features are those of the normalised backbone, fit into half precision, and do not depend on their company."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone
from fieldmark.core.errors import FieldmarkError
from fieldmark.training.embed import embed
from fieldmark.training.fit import initialised


def embedded(backbone: Backbone, images_NHW3: npt.NDArray[np.uint8], batch: int) -> npt.NDArray[np.float16]:
    side = images_NHW3.shape[1] // backbone.stride
    into_NhwC = np.empty((len(images_NHW3), side, side, backbone.channels), dtype=np.float16)
    embed(backbone, images_NHW3, into_NhwC, batch=batch)
    return into_NhwC


def pictures(count: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def test_embedding_is_the_normalised_backbone_in_half_precision() -> None:
    shrink = Backbone(nn.AvgPool2d(4), 3, 4, (0.1, 0.2, 0.3), (0.5, 0.25, 0.2), "")
    images_NHW3 = pictures(5)
    normal = (images_NHW3 / 255 - np.array(shrink.mean)) / np.array(shrink.std)
    expected = normal.reshape(5, 2, 4, 2, 4, 3).mean((2, 4))
    np.testing.assert_allclose(embedded(shrink, images_NHW3, 2), expected, rtol=2e-3, atol=2e-3)


def test_features_do_not_depend_on_what_shares_their_batch() -> None:
    module = initialised(lambda: nn.Sequential(nn.Conv2d(3, 32, 4, 4), nn.ReLU(), nn.Conv2d(32, 16, 1)), 0)
    backbone = Backbone(module.eval(), 16, 4, (0.5,) * 3, (0.5,) * 3, "")
    images_NHW3 = pictures(11)
    features_NhwC = embedded(backbone, images_NHW3, 4)
    order = np.random.default_rng(1).permutation(11)
    assert np.array_equal(embedded(backbone, images_NHW3[order], 4), features_NhwC[order])
    assert np.array_equal(embedded(backbone, images_NHW3[:1], 4), features_NhwC[:1])
    assert np.abs(features_NhwC).mean() > 0.01


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x_B3HW: Tensor) -> Tensor:
        return x_B3HW * self.factor


@pytest.mark.parametrize("factor", [math.nan, math.inf, 70_000.0])
def test_features_that_half_precision_cannot_hold_are_refused(factor: float) -> None:
    images_NHW3 = np.full((3, 2, 2, 3), 255, dtype=np.uint8)
    with pytest.raises(FieldmarkError, match="images 0 to 1 have features that are not finite or beyond 65504"):
        embedded(Backbone(Scaled(factor), 3, 1, (0.0,) * 3, (1.0,) * 3, ""), images_NHW3, 2)
    assert embedded(Backbone(Scaled(60_000.0), 3, 1, (0.0,) * 3, (1.0,) * 3, ""), images_NHW3, 2).max() == 60_000
