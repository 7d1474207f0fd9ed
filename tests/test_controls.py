"""What each control of a mask claims, and the attentive probe, by hand."""

import math

import pytest
import torch
from test_models import CHANNELS, batch, model, plain
from torch import nn

from fieldmark.core.contracts import Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.models import inverted_mask, oracle_mask, random_mask


def test_the_random_mask_moves_the_true_masks_weights_and_changes_none() -> None:
    inputs = batch("random_mask", 7, 7, examples=64)
    mask_Bhw = random_mask.scattered(inputs)
    assert inputs.object_Bhw is not None and not torch.equal(mask_Bhw, inputs.object_Bhw)
    assert torch.equal(mask_Bhw.flatten(1).sort(1).values, inputs.object_Bhw.flatten(1).sort(1).values)


def test_the_random_mask_depends_on_the_key_alone() -> None:
    inputs = batch("random_mask", examples=64)
    assert inputs.object_Bhw is not None and inputs.key_B is not None
    mask_Bhw, order = random_mask.scattered(inputs), torch.randperm(64, generator=torch.Generator().manual_seed(0))
    mixed = Batch(inputs.x_BCHW, inputs.object_Bhw[order], inputs.key_B[order])
    assert torch.equal(random_mask.scattered(mixed), mask_Bhw[order])
    same = Batch(inputs.x_BCHW, inputs.object_Bhw[:1].expand(64, -1, -1), inputs.key_B)
    assert random_mask.scattered(same).flatten(1).unique(dim=0).shape[0] == 64, "other key, other place"


def test_the_random_mask_is_spread_evenly() -> None:
    examples = 20_000
    object_Bhw = torch.zeros(examples, 2, 2)
    object_Bhw[:, 0, 0] = 1
    share_hw = random_mask.scattered(Batch(object_Bhw[:, None], object_Bhw, torch.arange(examples))).mean(0)
    assert (share_hw - 0.25).abs().max() < 4 * (0.25 * 0.75 / examples) ** 0.5  # four standard errors


def test_the_random_mask_needs_keys() -> None:
    with pytest.raises(FieldmarkError, match="without keys"):
        random_mask.scattered(batch("random_mask")._replace(key_B=None))


def test_the_inverted_mask_is_the_background() -> None:
    inputs = batch("inverted_mask")
    assert inputs.object_Bhw is not None
    assert torch.equal(inverted_mask.background(inputs), 1 - inputs.object_Bhw)


def test_the_oracle_pools_everything_and_says_it_looked_at_the_object() -> None:
    module, inputs = model("oracle_mask", {}).eval(), batch("oracle_mask")
    output = module(inputs)
    assert oracle_mask.VIEW == "masked"
    assert inputs.object_Bhw is not None and torch.equal(output.mask_Bhw, inputs.object_Bhw)
    torch.testing.assert_close(output.logits_BK, plain("oracle_mask", module, inputs), rtol=1e-5, atol=1e-6)


def test_a_hard_gate_is_exactly_zero_or_one() -> None:
    mask_Bhw = model("ersm", {"gate": "ste", "bias_init": 0.0})(batch("ersm")).mask_Bhw
    assert set(mask_Bhw.unique().tolist()) == {0.0, 1.0}


def asking(scale: float) -> nn.Module:
    """Return a probe of one head that asks for channels 1, 2, 3 more than for 4, 5, 6."""
    module = model("attentive_probe", {"heads": 1})
    with torch.no_grad():
        module.get_parameter("query_HC").copy_(scale * torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0]))
    return module.eval()


def test_an_attentive_probe_that_attends_to_one_token_is_the_classifier_of_that_token() -> None:
    inputs = Batch(torch.randn(2, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(0)))
    inputs.x_BCHW[:, :, 0, 1] = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])  # nothing is nearer to the question
    module = asking(1e3)
    output = module(inputs)
    assert torch.equal(output.mask_Bhw, torch.tensor([[0.0, 1.0], [0.0, 0.0]]).expand(2, 2, 2))
    assert torch.equal(output.logits_BK, module.get_submodule("linear")(inputs.x_BCHW[:, :, 0, 1]))


def test_an_attentive_probes_weights_are_a_softmax_over_what_is_kept() -> None:
    """Layer normalisation leaves +-1 as it is: scores are 6 q / sqrt(6) for one token, minus that for the other."""
    inputs = Batch(
        torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0, -1.0]).view(1, CHANNELS, 1, 1) * torch.tensor([[1.0, -1.0, 1]])
    )
    module, odds = asking(0.1), math.exp(-2 * 0.1 * 6**0.5)
    assert module(inputs).mask_Bhw.flatten().tolist() == pytest.approx([1, odds, 1], rel=1e-4)
    pooled = (1 - odds) / (1 + odds) * inputs.x_BCHW[:, :, 0, 0]  # of the first two tokens
    torch.testing.assert_close(
        module(inputs, torch.tensor([[[1.0, 1.0, 0.0]]])).logits_BK,
        module.get_submodule("linear")(pooled),
        rtol=1e-4,
        atol=0,
    )
    nothing = module(inputs, torch.zeros(1, 1, 3)).logits_BK
    assert torch.equal(nothing[0], module.get_submodule("linear").bias)


def test_a_forced_mask_of_ones_leaves_an_attentive_probes_answer_as_it_is() -> None:
    inputs = batch("attentive_probe")
    module = asking(1.0)
    assert torch.equal(module(inputs, torch.ones(5, 4, 6)).logits_BK, module(inputs).logits_BK)
    assert not torch.allclose(module(inputs).logits_BK, plain("attentive_probe", module, inputs))


def test_an_attentive_probes_heads_share_the_channels() -> None:
    with pytest.raises(FieldmarkError, match="4 heads can't share 6 channels evenly"):
        model("attentive_probe", {"heads": 4})
