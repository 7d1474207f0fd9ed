"""Transformations of attention masks: neutral ones change no bit, all keep to their range."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from heads import CHANNELS, CLASSES, NEUTRAL, STRONG, inputs, model, observed, trained
from torch import Tensor

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import transform as tf
from fieldmark.layers.attention_mask import KINDS, Kind
from fieldmark.layers.importance import Importance
from fieldmark.models import _attention_measures as measured
from fieldmark.models import amt


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said", NEUTRAL)
def test_a_neutral_transformation_changes_no_bit(said: str, kind: Kind, rescale: bool) -> None:
    changed = observed(model(transform=said, mask=kind, rescale=rescale))
    output, without = changed(inputs()), changed.answers(inputs().x_BCHW, transformed=False)
    assert torch.equal(output.logits_BK, without)
    original = model(mask=kind)
    original.load_state_dict(changed.state_dict(), strict=False)
    plain = original.eval()(inputs())
    assert torch.equal(output.logits_BK, plain.logits_BK) and torch.equal(output.mask_Bhw, plain.mask_Bhw)


def test_neutral_is_exact_for_masks_of_any_size() -> None:
    mask = torch.tensor([0.0, 1e-44, 1e-12, 0.1, 1 / 3, 0.999999, 1.0]).view(1, 1, -1, 1, 1)
    for family, (neutral, _, _) in tf.FAMILIES.items():
        changed = tf.Transform(f"{family}:{neutral}", 1, 7).eval()(mask)
        assert torch.equal(changed, mask) and torch.equal(tf.rescaled(changed, mask), mask), family


@pytest.mark.parametrize("family", tf.FAMILIES)
def test_masks_stay_in_range_over_a_familys_whole_grid(family: tf.Family) -> None:
    neutral, least, greatest = tf.FAMILIES[family]
    mask = torch.rand(2, CLASSES, CHANNELS, 3, 4, generator=torch.Generator().manual_seed(0))
    moved = 0
    for strength in np.linspace(least, greatest, 9):
        module = tf.Transform(f"{family}:{strength}", CLASSES, CHANNELS)
        module.observe(mask, torch.eye(CLASSES)[:2])
        changed = module.eval()(mask)
        assert changed.min() >= 0 and changed.max() <= 1
        moved += not torch.equal(changed, mask)
    assert moved >= 8, "all strengths but the neutral one do something"


@pytest.mark.parametrize(("family", "strength"), STRONG.items())
def test_rescaling_keeps_each_heads_mean(family: str, strength: float) -> None:
    module = observed(model(transform=f"{family}:{strength}", rescale=True))
    seen = module.classes(inputs().x_BCHW)
    assert not torch.equal(seen.weight_BKChw, seen.mask_BKChw)
    means = (value.mean((2, 3, 4)) for value in (seen.weight_BKChw, seen.mask_BKChw))
    torch.testing.assert_close(*means, rtol=1e-5, atol=0.0)


def test_a_mask_that_is_gone_stays_gone() -> None:
    mask = torch.full((1, 1, 2, 1, 1), 0.25, requires_grad=True)
    gone = tf.rescaled(tf.shift(mask, -0.5), mask)
    gone.sum().backward()
    assert gone.eq(0).all() and mask.grad is not None and mask.grad.isfinite().all()


def test_a_root_of_nothing_has_no_gradient_rather_than_an_infinite_one() -> None:
    mask = torch.tensor([0.0, 0.25], requires_grad=True)
    tf.power(mask, 0.5).sum().backward()
    assert mask.grad is not None and mask.grad.tolist() == [0.0, 1.0]


def test_the_top_share_is_taken_over_channels_and_places_of_each_head() -> None:
    mask = torch.tensor([[0.9, 0.1, 0.2, 0.8], [0.3, 0.4, 0.1, 0.2]]).view(1, 2, 2, 1, 2)
    assert tf.top(mask, 0.5).view(2, 4).tolist() == [
        pytest.approx([0.9, 0, 0, 0.8]),
        pytest.approx([0.3, 0.4, 0, 0]),
    ]
    assert tf.top(mask, 0.25, 0.5).view(2, 4)[0].tolist() == pytest.approx([0.9, 0.05, 0.1, 0.4])


def test_the_top_share_counts_exactly() -> None:
    mask = torch.linspace(0.1, 0.9, 30).view(1, 1, 30, 1, 1)
    assert [int((tf.top(mask, share) > 0).sum()) for share in (0.1, 0.3, 0.001, 1.0)] == [3, 9, 1, 30]


def test_importance_is_the_mean_mask_with_less_the_mean_mask_without() -> None:
    importance = Importance(1, 3).train()
    mask = torch.tensor([[0.9, 0.2, 0.5], [0.7, 0.4, 0.5], [0.2, 0.5, 0.5]]).view(3, 1, 3, 1, 1)
    importance.observe(mask, torch.tensor([[1.0], [1.0], [0.0]]))
    assert importance().tolist() == [pytest.approx([1.0, -0.2 / 0.6, 0.0], abs=1e-6)]


def test_importance_leaves_unknown_examples_out_and_is_zero_before_both_sides_were_seen() -> None:
    importance, mask = Importance(2, 2), torch.rand(3, 2, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    importance.observe(mask, torch.tensor([[1.0, 1.0], [0.0, 1.0], [torch.nan, torch.nan]]))
    difference = (mask[0] - mask[1])[0].flatten()
    torch.testing.assert_close(importance()[0], difference / difference.abs().max())
    assert importance()[1].eq(0).all()


def test_shuffled_importances_are_the_same_values_at_other_channels() -> None:
    mask = torch.rand(4, 2, 64, 1, 1, generator=torch.Generator().manual_seed(0))
    own, shuffled = Importance(2, 64), Importance(2, 64, shuffled=True)
    for importance in (own, shuffled):
        importance.observe(mask, torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(2, 1))
    assert not torch.equal(own(), shuffled())
    assert torch.equal(own().sort(1).values, shuffled().sort(1).values)


def test_training_learns_which_channels_matter() -> None:
    module = trained(model(transform="imp:1"))
    assert isinstance(module, amt.Amt) and module.classes.transform is not None
    importance = module.classes.transform.importance
    assert importance is not None and importance().abs().amax(1).allclose(torch.ones(CLASSES))
    before = importance.total_2KC.clone()
    module.eval()(inputs())
    assert torch.equal(importance.total_2KC, before), "an answer teaches nothing"


def test_a_test_time_transformation_is_absent_while_training() -> None:
    for when, alike in (("test", True), ("always", False)):
        module = model(transform="pow:4", transform_when=when).train()
        seen = module.classes(inputs().x_BCHW)
        assert torch.equal(seen.weight_BKChw, seen.mask_BKChw) == alike
        seen = module.eval().classes(inputs().x_BCHW)
        assert not torch.equal(seen.weight_BKChw, seen.mask_BKChw)


@pytest.mark.parametrize(("said", "found"), [("pow", "takes a strength from 0.05"), ("pow:0", "takes a strength"),
                                             ("top:2", "from 0.001 to 1"), ("sharpen:2", "write one of pow"),
                                             ("pow:nan", "takes a strength")])  # fmt: skip
def test_a_transformation_that_is_none_is_refused(said: str, found: str) -> None:
    with pytest.raises(FieldmarkError, match=found):
        model(transform=said)


def test_what_the_others_are_multiplied_by_leaves_masks_in_range() -> None:
    with pytest.raises(FieldmarkError, match="rest is 3: give a factor from 0 to 1"):
        model(transform="top:0.25", rest=3)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize(("family", "strength"), STRONG.items())
def test_an_attacks_gradient_goes_through_the_transformed_mask(family: str, strength: float, rescale: bool) -> None:
    """With the mask held fixed the gradient is another one, so some of it went through the mask."""
    module, x_BCHW = observed(model(transform=f"{family}:{strength}", rescale=rescale)), inputs().x_BCHW
    labels_B = torch.tensor([0, 1, 2, 0, 1])

    def gradient(answers: measured.Answers) -> Tensor:
        moved = x_BCHW.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(answers(moved), labels_B), moved)[0]

    fixed_BKChw = module.classes(x_BCHW).weight_BKChw.detach()

    def blind(x: Tensor) -> Tensor:
        pooled_BKC = (fixed_BKChw * x[:, None]).mean((3, 4))
        return (pooled_BKC * module.classes.linear.weight).sum(2) + module.classes.linear.bias

    through = gradient(module.answers)
    torch.testing.assert_close(module.answers(x_BCHW), blind(x_BCHW))
    assert through.isfinite().all() and through.abs().sum() > 0
    assert (through - gradient(blind)).abs().max() > 1e-3 * through.abs().max()
