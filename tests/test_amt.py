"""Attention masks per class and channel, their transformation, what is measured of them, and learnt attributes."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import transform as tf
from fieldmark.layers.attention_mask import KINDS, AttentionHeads, Kind, attention_mask
from fieldmark.layers.importance import Importance
from fieldmark.loading import attributes
from fieldmark.models import _attention_measures as measured
from fieldmark.models import abn, amt
from fieldmark.training.fit import fit, initialised

CHANNELS, CLASSES = 6, 3
STRONG = {"pow": 2.0, "shift": -0.3, "gain": 2.0, "top": 0.25, "imp": 1.0}
NEUTRAL = [f"{family}:{limits.neutral:g}" for family, limits in tf.FAMILIES.items()]


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backbone() -> Backbone:
    return Backbone(nn.Identity(), CHANNELS, 1, (0.0,) * 3, (1.0,) * 3, "")


def model(seed: int = 0, **options: Any) -> amt.Amt:
    built = initialised(lambda: amt.build(backbone(), CLASSES, **{"hidden": 4, **options}), seed)
    assert isinstance(built, amt.Amt)
    return built


def inputs(examples: int = 5, **others: Tensor) -> Batch:
    return Batch(draws(examples, CHANNELS, 3, 4), **others)


def observed(module: amt.Amt) -> amt.Amt:
    """Let importances be known, as after training."""
    module.train()(inputs(16))
    return module.eval()


def trained(module: nn.Module, *, epochs: int = 60, **columns: Tensor) -> nn.Module:
    """Learn classes that stand in one channel each, at one place."""
    labels_N = torch.arange(60) % CLASSES
    x_NCHW = 0.1 * draws(60, CHANNELS, 2, 2)
    x_NCHW[torch.arange(60), labels_N, 0, 0] += 3

    def batches(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        yield Batch(x_NCHW, **columns), labels_N, labels_N

    def objective(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK, labels_B)

    history = fit(module, batches, objective=objective, epochs=epochs, lr=3e-2, weight_decay=0.0)
    assert history[-1]["train_accuracy"] == 1
    return module


# The masks.


def test_shared_masks_are_identical_over_channels_and_gates_over_places() -> None:
    scores_BCHW = draws(2, CHANNELS, 3, 4)
    full, shared, channel, lowrank = (attention_mask(scores_BCHW, kind) for kind in KINDS)
    assert torch.equal(full, torch.sigmoid(scores_BCHW))
    assert torch.equal(shared, shared[:, :1].expand_as(shared)) and shared[:, 0].std() > 0
    assert torch.equal(channel, channel[..., :1, :1].expand_as(channel)) and channel[..., 0, 0].std() > 0
    logit_BCHW = torch.logit(lowrank.double())
    rank = torch.linalg.matrix_rank(logit_BCHW.flatten(2), atol=1e-4)
    assert rank.tolist() == [2, 2], "a sum of something of the place and something of the channel"


def test_all_kinds_have_the_same_parameters() -> None:
    sizes = {tuple(sorted((name, p.shape) for name, p in model(mask=kind).named_parameters())) for kind in KINDS}
    assert len(sizes) == 1


def test_a_mask_is_made_in_single_precision() -> None:
    mask = attention_mask(torch.full((1, 1, 1, 1), 8.0, dtype=torch.bfloat16), "full")
    assert mask.dtype == torch.float32 and mask.item() == pytest.approx(1 / (1 + np.exp(-8.0)), abs=1e-7)


@pytest.mark.parametrize("residual", [False, True])
def test_an_answer_is_the_mean_of_weighted_features_asked_of_the_classes_own_weights(residual: bool) -> None:
    module, batch = model(residual=residual).eval(), inputs()
    seen = module.classes(batch.x_BCHW)
    for k in range(CLASSES):
        pooled_BC = ((residual + seen.mask_BKChw[:, k]) * batch.x_BCHW).mean((2, 3))
        torch.testing.assert_close(module(batch).logits_BK[:, k], module.classes.linear(pooled_BC)[:, k])


def test_what_is_shown_is_the_predicted_classes_mask_over_channels() -> None:
    module, batch = trained(model()), inputs(16)
    assert isinstance(module, amt.Amt)
    output, masks_BKChw = module(batch), module.classes(batch.x_BCHW).mask_BKChw
    predicted_B = output.logits_BK.argmax(1)
    assert len(predicted_B.unique()) > 1
    torch.testing.assert_close(output.mask_Bhw, masks_BKChw[torch.arange(16), predicted_B].mean(1))


def test_masks_start_half_open_or_as_closed_as_asked() -> None:
    for start, expected in ((0.0, 0.5), (-4.0, 0.018)):
        masks = model(start=start).eval().classes(0 * inputs().x_BCHW).mask_BKChw
        torch.testing.assert_close(masks, torch.full_like(masks, expected), rtol=0.0, atol=1e-3)


def test_groups_that_do_not_divide_are_refused() -> None:
    with pytest.raises(FieldmarkError, match="4 groups can't share 6 channels"):
        model(groups=4)


# The transformations.


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


# What is learnt beside the classes.


def test_the_price_of_masks_is_their_mean() -> None:
    module, batch = model(beta=0.5).train(), inputs()
    mean_B = module.classes(batch.x_BCHW).mask_BKChw.mean((1, 2, 3, 4))
    torch.testing.assert_close(module(batch).extras["energy"], 0.5 * mean_B)
    assert "energy" not in model().train()(batch).extras


def test_auxiliary_answers_come_from_the_mean_scores_while_training_alone() -> None:
    module, batch = model(auxiliary=True), inputs()
    assert module.projection is not None
    scores_BKC = module.classes(batch.x_BCHW).scores_BKChw.mean((3, 4))
    told = module.train()(batch).extras["auxiliary_logits"]
    for k in range(CLASSES):
        torch.testing.assert_close(told[:, k], module.projection.linear(scores_BKC[:, k])[:, k])
    told.sum().backward()
    learnt = [*module.projection.parameters(), *module.classes.networks.parameters()]
    assert all(p.grad is not None for p in learnt) and module.projection.linear.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert not module.eval()(batch).extras


def test_attributes_cost_their_cross_entropy_and_unknown_ones_nothing() -> None:
    told_BA = torch.tensor([[1.0, 0.0], [torch.nan, 1.0], [torch.nan, torch.nan], [0.0, 0.0], [1.0, 1.0]])
    module, batch = model(num_attributes=2).train(), inputs(attributes_BA=told_BA)
    assert module.attributes is not None
    answers = module.attributes(batch.x_BCHW).answers_BK
    sure = torch.where(told_BA == 1, answers, -answers).sigmoid()
    expected_B = torch.where(told_BA.isnan(), 0.0, -sure.log()).sum(1)
    torch.testing.assert_close(module(batch).extras["energy"], expected_B)
    assert module(batch).extras["energy"][2] == 0


def test_attribute_heads_do_not_touch_the_classes() -> None:
    without, beside = model(), model(num_attributes=2)
    beside.load_state_dict(without.state_dict(), strict=False)
    trained(without)
    trained(beside, attributes_BA=torch.ones(60, 2))
    torch.testing.assert_close(without(inputs()).logits_BK, beside(inputs()).logits_BK)


def test_training_attribute_heads_without_their_attributes_is_refused() -> None:
    module = model(num_attributes=2).train()
    for batch, found in ((inputs(), "given none"), (inputs(attributes_BA=torch.ones(5, 3)), "given 3")):
        with pytest.raises(FieldmarkError, match=found):
            module(batch)
    assert module.eval()(inputs()).logits_BK.shape == (5, CLASSES), "asked, it needs none"


MIXED: list[dict[str, Any]] = [
    {"beta": 0.1, "auxiliary": True, "num_attributes": 2, "twins": True},
    *({"transform": f"{family}:{strength}", "rescale": True} for family, strength in STRONG.items()),
]


@pytest.mark.parametrize("options", MIXED, ids=str)
def test_masks_stay_in_single_precision_where_the_rest_is_in_half(options: dict[str, Any]) -> None:
    module = model(transform_when="always", **options).train()
    batch = inputs(attributes_BA=torch.ones(5, 2))
    with torch.autocast("cpu", torch.bfloat16):
        output, seen = module(batch), module.classes(batch.x_BCHW)
    assert seen.mask_BKChw.dtype == seen.weight_BKChw.dtype == output.mask_Bhw.dtype == torch.float32
    (output.logits_BK.float().square().sum() + sum(value.float().sum() for value in output.extras.values())).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    masks = module.eval().classes(batch.x_BCHW).mask_BKChw
    with torch.autocast("cpu", torch.bfloat16):
        rounded = module.classes(batch.x_BCHW).mask_BKChw
    torch.testing.assert_close(rounded, masks, rtol=0.0, atol=0.01)


# ABN.


def branch(**options: Any) -> abn.Abn:
    built = initialised(lambda: abn.build(backbone(), CLASSES, hidden=4, **options), 0)
    assert isinstance(built, abn.Abn)
    return built


def test_abn_has_one_mask_for_all_channels_and_classes_and_classifies_by_its_maps_means() -> None:
    module, batch = branch(), inputs()
    module.train()(batch)
    module.eval()
    maps_BKhw = module.branch(batch.x_BCHW)
    mask_BKhw = module.masks(maps_BKhw)
    assert torch.equal(mask_BKhw, mask_BKhw[:, :1].expand_as(mask_BKhw))
    pooled_BC = ((1 + mask_BKhw[:, :1]) * batch.x_BCHW).mean((2, 3))
    torch.testing.assert_close(module(batch).logits_BK, module.linear(pooled_BC))
    assert torch.equal(module(batch).mask_Bhw, mask_BKhw[:, 0]) and not module(batch).extras
    output = module.train()(batch)
    torch.testing.assert_close(output.extras["auxiliary_logits"], module.branch(batch.x_BCHW).mean((2, 3)))


@pytest.mark.parametrize("residual", [False, True])
def test_abn_of_many_attributes_weights_by_each_classes_map_as_it_is(residual: bool) -> None:
    module, batch = branch(masks="class", residual=residual).eval(), inputs()
    maps_BKhw = module.branch(batch.x_BCHW)
    for k in range(CLASSES):
        pooled_BC = ((residual + maps_BKhw[:, k, None]) * batch.x_BCHW).mean((2, 3))
        torch.testing.assert_close(module(batch).logits_BK[:, k], module.linear(pooled_BC)[:, k])


# The measures.


def known_heads(answers: Tensor) -> AttentionHeads:
    """Return heads that look everywhere at half weight and answer by given weights (K, C)."""
    heads = AttentionHeads(CHANNELS, len(answers), kind="full", hidden=2, groups=1, residual=False).eval()
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
        heads.linear.weight.copy_(answers)
    return heads


def test_an_attack_moves_every_value_by_its_share_of_the_examples_root_mean_square() -> None:
    """Two classes that read channel 0 and 1 at half weight: the margin (x0 - x1) / 2 falls by the step for each."""
    heads = known_heads(torch.eye(2, CHANNELS))
    x_BCHW = torch.ones(3, CHANNELS, 1, 1)
    x_BCHW[:, 0] = torch.tensor([1.03, 1.15, 1.5]).view(3, 1, 1)  # their margins, in units of two steps: 1.5, 7.5, 25
    labels_B = torch.zeros(3, dtype=torch.int64)
    scores = measured.of_attacks(
        lambda x: heads(x).answers_BK, None, [(Batch(x_BCHW), labels_B, labels_B)], torch.device("cpu")
    )
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {"fgsm_1": 1.0, "fgsm_2": 2 / 3, "fgsm_4": 2 / 3, "fgsm_8": 1 / 3}
    )
    assert scores["fgsm_8"].values.tolist() == [0, 0, 1] and scores["fgsm_8"].rows.tolist() == [0, 1, 2]


def test_without_a_transformation_transfer_is_the_attack_itself_and_with_one_it_is_another() -> None:
    labels_B = torch.arange(64) % CLASSES
    batches = [(Batch(draws(64, CHANNELS, 3, 3)), labels_B, labels_B)]
    module, sharpened = trained(model()), model(transform="pow:4", rescale=True)
    assert isinstance(module, amt.Amt)
    sharpened.load_state_dict(module.state_dict())
    plain = amt.measures(module, batches)
    for step in measured.STEPS:
        assert plain[f"fgsm_{step}"].values.tolist() == plain[f"fgsm_transfer_{step}"].values.tolist()
    sharp = amt.measures(sharpened, batches)
    differing = [s for s in measured.STEPS if (sharp[f"fgsm_{s}"].values != sharp[f"fgsm_transfer_{s}"].values).any()]
    assert differing, "made for another mask"
    assert all(sharp[f"fgsm_{step}"].value <= sharp[f"fgsm_transfer_{step}"].value for step in measured.STEPS)


def test_measures_work_where_gradients_are_switched_off_and_leave_none_behind() -> None:
    module, labels_B = model(), torch.zeros(5, dtype=torch.int64)
    with torch.inference_mode():
        scores = amt.measures(module, [(inputs(), labels_B, labels_B)])
    assert 0 <= scores["fgsm_1"].value <= 1
    assert all(p.grad is None for p in module.parameters())


def test_attributes_are_scored_per_attribute_and_unknown_ones_are_left_out() -> None:
    """One attribute is read off channel 0 and always right; the other always says no, and is so for three of four."""
    heads = known_heads(torch.tensor([[1.0] + [0.0] * 5, [0.0] * 6]))
    with torch.no_grad():
        heads.linear.bias.copy_(torch.tensor([0.0, -9.0]))
    x_BCHW = torch.zeros(4, CHANNELS, 1, 2)
    x_BCHW[:, 0] = torch.tensor([1.0, 1.0, -1.0, -1.0]).view(4, 1, 1)
    told_BA = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [torch.nan, 0.0]])
    object_Bhw = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]], [[1.0, 1.0]], [[0.0, 0.0]]])
    labels_B = torch.zeros(4, dtype=torch.int64)
    batches = [(Batch(x_BCHW, object_Bhw, attributes_BA=told_BA), labels_B, labels_B)]
    found = measured.of_attributes(heads, 2, 2, batches, torch.device("cpu"))
    assert found["attribute_accuracy"].means() == {"00": 1.0, "01": 0.75}
    assert found["attribute_accuracy"].value == 0.875
    assert found["attribute_accuracy_balanced"].means() == {"00=0": 1.0, "00=1": 1.0, "01=0": 1.0, "01=1": 0.0}
    assert found["attribute_accuracy_balanced"].value == 0.75
    assert found["attribute_fgsm_4"].value == 0.75, "4 % of the root mean square does not turn a whole channel"
    assert found["mask_distance_attributes"].value == pytest.approx(0.0, abs=1e-6)
    assert "mask_distance_reseeded" not in found, "no twins"
    pointing = found["attribute_pointing"].values
    assert pointing[:3].tolist() == pytest.approx([0.5, 0.5, 1.0]) and np.isnan(pointing[3])


def test_distances_tell_other_attributes_from_other_seeds() -> None:
    """Attributes 0 and 1 have masks (1, 0) and (0, 1); twin 0 is the same as its own, twin 1 is the other one's."""
    mask_BKChw = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]).view(1, 4, 2, 1, 1)
    distance_BKK = measured.cosine_distances(mask_BKChw)
    assert measured.apart(distance_BKK[:, :2, :2]).tolist() == [1.0]
    assert distance_BKK[:, :2, 2:].diagonal(dim1=1, dim2=2).tolist() == [[0.0, 1.0]]
    assert measured.apart(distance_BKK[:, :1, :1]).isnan().all()


def test_twins_learn_the_same_attributes_from_other_weights() -> None:
    told_BA = (torch.arange(60)[:, None] % CLASSES == torch.arange(2)).float()
    module = trained(model(num_attributes=2, twins=True, of_object=1), attributes_BA=told_BA)
    assert isinstance(module, amt.Amt)
    labels_B, x_BCHW = torch.arange(6) % CLASSES, torch.zeros(6, CHANNELS, 2, 2)
    x_BCHW[torch.arange(6), labels_B, 0, 0] = 3.0
    batch = Batch(x_BCHW, torch.ones(6, 2, 2), attributes_BA=told_BA[:6])
    found = amt.measures(module, [(batch, labels_B, labels_B)])
    assert found["attribute_accuracy_balanced"].value == 1
    assert found["mask_distance_reseeded"].value > 0 and found["mask_distance_attributes"].value > 0
    assert found["attribute_pointing"].value == pytest.approx(1.0)
    assert set(found) <= set(amt.MEANINGS) and set(amt.HIGHER_IS_BETTER) <= set(amt.MEANINGS)


def test_abn_is_attacked_too() -> None:
    labels_B = torch.arange(5) % CLASSES
    found = abn.measures(branch(), [(inputs(), labels_B, labels_B)])
    assert set(found) == {f"fgsm_{step}" for step in measured.STEPS}
    assert found["fgsm_8"].value <= found["fgsm_1"].value


# Attributes of examples.

INDEX = pd.DataFrame(
    [
        ("disc", "cutout", {"colour": "red", "prop": True}),
        ("cross", "cutout", {"colour": "blue", "prop": False}),
        ("bare", "cutout", {"prop": False}),
        ("beach", "scene", {"texture": "ripples", "deck": False}),
        ("bay", "scene", {"texture": "waves", "deck": False}),
        ("hawk", "photo", {"colour": "blue"}),
    ],
    columns=["source_id", "role", "attributes"],
).assign(attributes=lambda table: table["attributes"].map(json.dumps))
PLAIN = {"fg_scale": 0.5, "fg_x": 0.4, "fg_y": 0.6, "erase": "", "keep": "", "masked": False, "corruption": ""}
NAMES = [
    "object colour=blue", "object colour=red", "object prop", *attributes.GEOMETRY,
    "background texture=ripples", "background texture=waves",
]  # fmt: skip
UNKNOWN = None


def told(**recipe: object) -> list[float | None]:
    """Return the attributes of one recipe, None where unknown."""
    names, values_NA = attributes.table(pd.DataFrame([PLAIN | recipe]), INDEX)
    assert names == NAMES and values_NA.dtype == np.float32
    return [None if np.isnan(value) else value for value in values_NA[0].tolist()]


def test_attributes_are_those_of_the_sources_and_of_the_geometry() -> None:
    assert told(fg_source="disc", bg_source="bay") == [0, 1, 1, 0, 1, 0, 0, 1]
    assert told(fg_source="cross", bg_source="beach", fg_scale=0.7, fg_x=0.6, fg_y=0.1) == [1, 0, 0, 1, 0, 1, 1, 0]


def test_what_a_source_does_not_say_or_the_picture_does_not_show_is_unknown() -> None:
    assert told(fg_source="bare", bg_source="bay") == [UNKNOWN, UNKNOWN, 0, 0, 1, 0, 0, 1]
    assert told(fg_source="disc", bg_source="bay", masked=True) == [0, 1, 1, 0, 1, 0, UNKNOWN, UNKNOWN]
    assert told(fg_source="disc", bg_source="bay", erase="box") == [UNKNOWN] * 6 + [0, 1]
    assert told(fg_source="disc", bg_source="bay", keep="{}") == [UNKNOWN] * 8
    assert told(fg_source="disc", bg_source="bay", corruption="drop_random:0.5") == [UNKNOWN] * 8
    assert told(fg_source="disc", bg_source="bay", corruption="fog:3") == [0, 1, 1, 0, 1, 0, 0, 1]


def test_a_photo_tells_nothing_of_where_its_object_is() -> None:
    assert told(fg_source="hawk", bg_source="hawk") == [1, 0] + [UNKNOWN] * 6


def test_columns_do_not_depend_on_the_examples_and_large_does_not_either() -> None:
    recipes = pd.DataFrame(
        [PLAIN | {"fg_source": "disc", "bg_source": "bay", "fg_scale": scale} for scale in (0.6, 0.7)]
    )
    large = NAMES.index("object large")
    assert attributes.table(recipes, INDEX)[1][:, large].tolist() == [0, 1]
    assert attributes.table(recipes[1:], INDEX)[1][:, large].tolist() == [1]
    assert attributes.table(recipes, INDEX, middle=0.65)[1][:, large].tolist() == [0, 1]
    assert attributes.table(recipes, INDEX, middle=0.5)[1][:, large].tolist() == [1, 1]


def test_a_number_is_no_attribute() -> None:
    measured_index = INDEX.assign(attributes='{"weight": 3}')
    with pytest.raises(FieldmarkError, match="weight = 3"):
        attributes.table(pd.DataFrame([PLAIN | {"fg_source": "disc", "bg_source": "bay"}]), measured_index)
