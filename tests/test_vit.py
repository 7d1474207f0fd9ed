"""Attention with masked keys is what its formula says, and the ViT is transformers' DINOv2 with its weights."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_vits import DINO, LABELS, NOWHERE, REGISTERS, built, noise, pictures
from torch import Tensor, nn

from fieldmark.backbones import hub
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import dinov2
from fieldmark.layers.masked_attention import FLOOR, MaskedAttention, key_bias
from fieldmark.layers.vit import Vit
from fieldmark.layers.vit_classifier import VitClassifier, weighted_mean
from fieldmark.models import vit
from fieldmark.training.fit import initialised

# attention


def exact(q_ND: Tensor, k_ND: Tensor, v_ND: Tensor, weight_N: Tensor) -> Tensor:
    """Attention with weighted keys as the formula says: exp(score) * weight, then normalised."""
    score_NN = q_ND @ k_ND.T / q_ND.shape[1] ** 0.5
    odds_NN = (score_NN - score_NN.amax(1, keepdim=True)).exp() * weight_N
    return odds_NN / odds_NN.sum(1, keepdim=True) @ v_ND


def test_a_bias_weighs_keys_as_the_formula_says_forward_and_backward() -> None:
    q_ND, k_ND, v_ND = noise(3, 5, 8).double()
    weight_N = torch.tensor([1.0, 0.0, 0.3, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    formula_ND = exact(q_ND, k_ND, v_ND, weight_N)
    (expected_N,) = torch.autograd.grad((formula_ND * noise(5, 8, seed=1)).sum(), weight_N)
    bias_NN = key_bias(weight_N, FLOOR).double().expand(5, 5)
    biased_ND = F.scaled_dot_product_attention(q_ND[None], k_ND[None], v_ND[None], attn_mask=bias_NN)[0]
    torch.testing.assert_close(biased_ND, formula_ND, rtol=0, atol=1e-6)
    (found_N,) = torch.autograd.grad((biased_ND * noise(5, 8, seed=1)).sum(), weight_N)
    assert expected_N[1] != 0, "a hidden key can learn to come back"
    torch.testing.assert_close(found_N, expected_N, rtol=1e-4, atol=1e-4)


def test_a_hard_mask_is_the_boolean_one_bit_for_bit() -> None:
    attention, x_BND = initialised(lambda: MaskedAttention(8, 2), 0), noise(2, 5, 8)
    keep_BN = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0], [1.0] * 5])
    qkv = attention.qkv(x_BND).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    expected = F.scaled_dot_product_attention(*qkv, attn_mask=keep_BN.bool()[:, None, None])
    assert torch.equal(attention(x_BND, key_bias(keep_BN)), attention.out(expected.transpose(1, 2).flatten(2)))


def test_training_hides_keys_as_evaluation_does() -> None:
    classifier, x_BCHW = built().second, pictures().x_BCHW
    keep_Bhw = (noise(6, 4, 6, seed=2) > 0).float()
    evaluated_BK = classifier(x_BCHW, keep_Bhw).logits_BK
    torch.testing.assert_close(classifier.train()(x_BCHW, keep_Bhw).logits_BK, evaluated_BK, rtol=0, atol=1e-4)


# the vision transformer


@pytest.mark.parametrize("config", [DINO, REGISTERS], ids=["plain", "registers"])
def test_the_vit_is_transformers_dinov2_with_its_weights(config: dict[str, Any]) -> None:
    reference = hub.load(config=config).module
    ours = dinov2.inside(reference).eval()
    for side in (28, 56, 70):  # the grid it was made for, and positions interpolated to others
        x_BCHW = noise(2, 3, side, side)
        with torch.inference_mode():
            torch.testing.assert_close(ours(x_BCHW), reference(x_BCHW), rtol=0, atol=1e-5)


def test_a_copied_vit_learns_without_its_source() -> None:
    source = hub.load(config=DINO).module
    first, second = dinov2.inside(source), dinov2.inside(source)
    assert all(p.requires_grad for p in first.parameters()) and not any(p.requires_grad for p in source.parameters())
    assert {p.data_ptr() for p in first.parameters()}.isdisjoint({p.data_ptr() for p in second.parameters()})
    assert torch.equal(dinov2.inside(first).prefix_1QD, first.prefix_1QD)


def test_another_architecture_is_refused() -> None:
    with pytest.raises(FieldmarkError, match=r"backbone \(Conv2d\) holds no ViT"):
        dinov2.inside(nn.Conv2d(3, 4, 4))
    with pytest.raises(
        FieldmarkError, match=r"not those of a ViT of DINOv2's shape: there is no 'encoder.layer.0.mlp.fc1"
    ):
        dinov2.inside(hub.load(config={**DINO, "use_swiglu_ffn": True}).module)


def test_a_patch_reaches_the_other_tokens_through_attention_alone() -> None:
    module = initialised(lambda: Vit(dim=8, depth=1, heads=2, patch=4, grid=(2, 2)), 0).eval()
    x_BCHW = noise(1, 3, 8, 8)
    changed = x_BCHW.clone()
    changed[:, :, :4, :4] += 1
    moved_4 = (module.embed(changed) - module.embed(x_BCHW)).abs().sum(1).flatten()
    assert moved_4[0] > 0 and moved_4[1:].eq(0).all()
    with pytest.raises(FieldmarkError, match="patches of 4 px do not tile images of 8 x 10 px"):
        module(noise(1, 3, 8, 10))


def test_a_mask_of_another_grid_is_refused() -> None:
    with pytest.raises(FieldmarkError, match=r"mask has \(4, 4\) tokens, the picture \(4, 6\) patches"):
        built()(pictures(), torch.ones(6, 4, 4))


def test_where_nothing_is_seen_weights_still_have_a_finite_slope() -> None:
    token_BND, weight_BN = torch.tensor([[[2.0], [4.0]]]), torch.zeros(1, 2, requires_grad=True)
    mean_BD = weighted_mean(token_BND, weight_BN)
    mean_BD.sum().backward()
    assert mean_BD.item() == 0 and weight_BN.grad is not None and weight_BN.grad.tolist() == [[2.0, 4.0]]


def test_the_plain_vit_is_the_second_stage_that_sees_everything() -> None:
    module = initialised(lambda: vit.build(NOWHERE, LABELS, dim=32, depth=2, heads=2, grid=(4, 6)), 0).eval()
    output, inputs = module(pictures()), pictures()
    assert output.mask_Bhw.eq(1).all() and output.mask_Bhw.shape == (6, 4, 6)
    second = built().second
    second.load_state_dict({n.removeprefix("classifier."): value for n, value in module.state_dict().items()})
    assert torch.equal(second(inputs.x_BCHW).logits_BK, output.logits_BK)
    assert isinstance(second, VitClassifier) and torch.equal(
        module(inputs, torch.ones(6, 4, 6)).mask_Bhw, output.mask_Bhw
    )
