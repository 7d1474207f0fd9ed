"""Looking twice: where the crop lies, what is seen of it, and that a crop of a recipe is the crop of its picture."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.boxes import around, centre, from_frame, onto_frame
from fieldmark.layers.pooling import TokenClassifier
from fieldmark.loading.painting import kept_pixels, paint_over
from fieldmark.models import random_token, two_stage
from fieldmark.training.phases import phases
from fieldmark.variants.nearer import kept, zoomed

BACKBONE = Backbone(nn.Identity(), 2, 32, (0.5,) * 3, (0.5,) * 3, "")


class Pointer(nn.Module):
    """A first stage that looks where it is told."""

    def __init__(self, mask_Bhw: Tensor) -> None:
        super().__init__()
        self.mask_Bhw = mask_Bhw

    def forward(self, batch: Batch) -> Output:
        """Point."""
        return Output(torch.zeros(len(self.mask_Bhw), 2), self.mask_Bhw, {})


def looking(mask_Bhw: Tensor, **options: object) -> tuple[Output, list[tuple[Tensor, Tensor | None]]]:
    """Return what a two-stage model says, and what it asked to see."""
    module = two_stage.build(BACKBONE, 2, first="erm", **options).eval()
    module.first = Pointer(mask_Bhw)
    asked = []

    def look(boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: str = "grey") -> Tensor:
        asked.append((boxes_Bn3, keep_Bhw))
        return torch.ones(len(boxes_Bn3), 2, 4, 4 * boxes_Bn3.shape[1])

    return module(Batch(torch.zeros(len(mask_Bhw), 2, 4, 4), look=look)), asked


def one(row: int, column: int) -> Tensor:
    mask_144 = torch.zeros(1, 4, 4)
    mask_144[0, row, column] = 1
    return mask_144


def test_the_crop_is_centred_on_the_mask_and_stays_inside_the_frame() -> None:
    _, [(boxes, _)] = looking(one(1, 2))
    assert boxes.tolist() == [[[0.625, 0.375, 0.5]]]
    _, [(boxes, _)] = looking(one(0, 3))  # its own centre is 0.875, 0.125: too near the corner
    assert boxes.tolist() == [[[0.75, 0.25, 0.5]]]


def test_an_empty_mask_looks_at_the_middle() -> None:
    _, [(boxes, _)] = looking(torch.zeros(1, 4, 4))
    assert boxes.tolist() == [[[0.5, 0.5, 0.5]]]


def test_the_peak_is_not_drawn_away_by_weaker_tokens() -> None:
    mask = one(0, 0) + 0.9 * one(3, 3)
    _, [(boxes, _)] = looking(mask, aim="peak", sides=(0.25,))
    assert boxes.tolist() == [[[0.125, 0.125, 0.25]]]


def test_what_was_seen_is_what_the_crop_covers() -> None:
    output, _ = looking(one(1, 2))  # rows 0.125 to 0.625, columns 0.375 to 0.875
    rows, columns = torch.tensor([0.5, 1, 0.5, 0]), torch.tensor([0, 0.5, 1, 0.5])
    torch.testing.assert_close(output.mask_Bhw[0], rows[:, None] * columns)


def test_several_crops_are_seen_side_by_side() -> None:
    output, [(boxes, _)] = looking(one(1, 2), sides=(0.5, 1.0))
    assert boxes[0, :, 2].tolist() == [0.5, 1.0]
    assert output.mask_Bhw.eq(1).all(), "the second crop is the whole frame"


def test_tokens_that_are_hidden_are_painted_over_and_count_as_unseen() -> None:
    mask = one(0, 0) + 0.2 * one(3, 3)
    output, [(_, keep)] = looking(mask, hide=0.5, spread=1, sides=(1.0,))
    assert keep is not None and keep[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert torch.equal(output.mask_Bhw, keep)


def test_a_model_without_pictures_says_what_it_needs() -> None:
    with pytest.raises(FieldmarkError, match="looks twice"):
        two_stage.build(BACKBONE, 2)(Batch(torch.zeros(1, 2, 4, 4)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sides": (0.0,)}, "fractions of the frame"),
        ({"first": "oracle_mask"}, "can't use"),
        ({"sharpness": 0.0}, "a power above 0"),
        ({"hide": 1.5}, "a share of the mask's highest value"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(FieldmarkError, match=says):
        two_stage.build(BACKBONE, 2, **options)


def test_the_first_stage_is_trained_first_and_then_fixed() -> None:
    module = two_stage.build(BACKBONE, 2, first="ersm")
    names = []
    for name, part in phases(module):
        names.append(name)
        assert any(parameter.requires_grad for parameter in part.parameters())
    assert names == ["first", ""]
    assert not any(parameter.requires_grad for parameter in module.first.parameters())
    assert not module.train().first.training


def test_a_mask_that_the_classifier_makes_is_trained_with_it() -> None:
    assert [name for name, _ in phases(two_stage.build(BACKBONE, 2, first="cam"))] == ["first", ""]


def test_an_aim_at_a_token_without_weight_has_a_finite_gradient() -> None:
    mask_Bhw = one(1, 2).requires_grad_()
    two_stage.build(BACKBONE, 2, sharpness=0.5).boxes(mask_Bhw).sum().backward()
    assert mask_Bhw.grad is not None and mask_Bhw.grad.isfinite().all()


def test_a_mask_that_is_a_rule_is_not_trained() -> None:
    assert [name for name, _ in phases(two_stage.build(BACKBONE, 2, first="erm"))] == [""]


def test_a_random_token_is_one_and_every_token_comes_up() -> None:
    batch = Batch(torch.zeros(4000, 2, 2, 2), key_B=torch.arange(4000))
    mask_Bhw = random_token.one_token(batch)
    assert mask_Bhw.sum((1, 2)).eq(1).all()
    assert (mask_Bhw.mean(0) - 0.25).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5  # four standard errors


def test_a_box_there_and_back_is_the_same_mask() -> None:
    mask_Bhw = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    whole = around(centre(mask_Bhw), 1.0).unsqueeze(1)
    torch.testing.assert_close(onto_frame(whole, from_frame(whole, mask_Bhw, (4, 4)), (4, 4)), mask_Bhw)


def recipes(**change: object) -> pd.DataFrame:
    row = {"crop_x": 40, "crop_y": 20, "crop_side": 200, "fg_x": 0.4, "fg_y": 0.6, "fg_scale": 0.5, "keep": "",
           "corruption": "", "occluder_x": 0.2, "occluder_y": 0.2, "occluder_side": 0.1}  # fmt: skip
    return pd.DataFrame([row | change])


def test_a_crop_of_a_crop_is_a_crop() -> None:
    twice = zoomed(zoomed(recipes(), np.array([[0.5, 0.5, 0.5]])), np.array([[0.25, 0.25, 0.5]]))
    once = zoomed(recipes(), np.array([[0.375, 0.375, 0.25]]))
    pd.testing.assert_frame_equal(twice, once)


def test_no_rounding_leaves_the_frame() -> None:
    near = zoomed(recipes(crop_x=0, crop_side=103), np.array([[0.75, 0.5, 0.5]])).iloc[0]
    assert (near.crop_x, near.crop_side) == (51, 52), "52 + 52 is beyond the 103 there are"


def test_what_is_kept_stays_at_its_place_in_the_scene() -> None:
    keep = np.array([[[True, False], [False, True]]])
    near = zoomed(kept(recipes(), keep, "black"), np.array([[0.75, 0.5, 0.5]])).iloc[0]  # the right half, middle rows
    said = json.loads(near.keep)
    shown = kept_pixels(said["grid"], bytes.fromhex(said["bits"]), said["frame"], 4)
    assert shown.tolist() == [[False] * 4] * 2 + [[True] * 4] * 2


@pytest.mark.parametrize(("fill", "value"), [("black", 0), ("grey", 128)])
def test_hidden_pixels_are_painted_and_the_others_stay(fill: str, value: int) -> None:
    image = np.full((2, 2, 3), 200, np.uint8)
    painted = paint_over(image, np.array([[True, False], [False, False]]), fill)
    assert painted[..., 0].tolist() == [[value, 200], [200, 200]] and image.min() == 200


def test_a_token_classifier_has_a_rule_for_a_mask() -> None:
    assert isinstance(two_stage.build(BACKBONE, 2, first="random_token").first, TokenClassifier)
