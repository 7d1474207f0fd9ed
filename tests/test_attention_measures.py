"""What is measured of masks per class and channel: attacks, attributes, distances between masks."""

import numpy as np
import pytest
import torch
from heads import CHANNELS, CLASSES, branch, draws, inputs, model, trained
from torch import Tensor

from fieldmark.core.contracts import Batch
from fieldmark.layers.attention_mask import AttentionHeads
from fieldmark.models import _attention_measures as measured
from fieldmark.models import abn, amt


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
