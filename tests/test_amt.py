"""Attention masks per class and channel, and what is learnt beside the classes; the attention branch network."""

from typing import Any

import numpy as np
import pytest
import torch
from heads import CHANNELS, CLASSES, STRONG, branch, draws, inputs, model, trained

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.attention_mask import KINDS, attention_mask
from fieldmark.models import amt


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
