"""From pixels to what a model is given: the same numbers as in training, and their gradient whole."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone
from fieldmark.layers.eye import Eye, blurring, cut, painted
from fieldmark.loading.painting import paint_over


def pictures(side: int) -> Tensor:
    return torch.rand(8, 3, side, side, generator=torch.manual_seed(1))


def test_a_crop_that_lies_on_whole_pixels_is_those_pixels():
    x_BCSS = pictures(side=16)
    box_B3 = torch.tensor([[0.5, 0.25, 0.5]]).expand(8, 3)
    torch.testing.assert_close(cut(x_BCSS, box_B3, 8), x_BCSS[:, :, :8, 4:12], rtol=0, atol=1e-6)
    whole_B3 = torch.tensor([[0.5, 0.5, 1.0]]).expand(8, 3)
    torch.testing.assert_close(cut(x_BCSS, whole_B3, 8), nn.functional.avg_pool2d(x_BCSS, 2), rtol=0, atol=1e-6)


def test_the_aim_has_a_gradient():
    """A ramp of slope 1 per pixel: moving the box by a fraction d of 16 px adds 16 d to each pixel."""
    ramp_11SS = torch.arange(16.0).expand(1, 1, 16, 16)
    box_13 = torch.tensor([[0.51, 0.5, 0.5]], requires_grad=True)
    cut(ramp_11SS, box_13, 8).mean().backward()
    torch.testing.assert_close(box_13.grad[0, :2], torch.tensor([16.0, 0.0]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fill", ["black", "grey", "blur"])
def test_hidden_pixels_are_painted_as_in_training(fill):
    image_HW3 = (np.random.default_rng(0).random((48, 48, 3)) * 255).astype(np.uint8)
    image_HW3 = cv2.GaussianBlur(image_HW3, (0, 0), 2)
    keep_HW = np.zeros((48, 48), bool)
    keep_HW[:, :20] = True
    expected = torch.from_numpy(paint_over(image_HW3, ~keep_HW, fill)).permute(2, 0, 1) / 255
    x_B3HW = torch.from_numpy(image_HW3).permute(2, 0, 1)[None] / 255
    found = painted(x_B3HW, torch.from_numpy(keep_HW)[None].float(), fill)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1.01 / 255)  # it rounds to whole steps
    torch.testing.assert_close(blurring(48, x_B3HW).sum(1), torch.ones(48))


def test_an_eye_gives_features_as_they_are_stored_and_their_gradient_whole():
    identity = Backbone(nn.AvgPool2d(2), 3, 2, (0.5,) * 3, (0.25,) * 3, "")
    x_B3SS = pictures(side=8).requires_grad_()
    batch = Eye(identity, 8, on_pixels=False).batch(x_B3SS, torch.ones(8, 1, 8, 8), torch.arange(8))
    assert torch.equal(batch.x_BCHW, batch.x_BCHW.half().float())
    batch.x_BCHW.sum().backward()
    torch.testing.assert_close(x_B3SS.grad, torch.ones_like(x_B3SS))  # 4 per unit of pixel, a quarter each
    assert batch.object_Bhw.shape == (8, 4, 4)
