"""iFAM and what it is made of: the method's acceptance tests (leak, coupling, pruning, removal), and known answers."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.backbones import hub
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import dinov2, part_losses, parts
from fieldmark.layers.masked_attention import FLOOR, MaskedAttention, key_bias
from fieldmark.layers.vit import Vit
from fieldmark.layers.vit_classifier import VitClassifier, weighted_mean
from fieldmark.models import ifam, vit
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import phases

LABELS, PATCH, PARTS = 3, 4, 4
NOWHERE = Backbone(nn.Identity(), 1, PATCH, (0.5,) * 3, (0.5,) * 3, "")
DINO = {
    "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14,
    "image_size": 28, "mlp_ratio": 2, "layerscale_value": 0.7,
}  # fmt: skip
REGISTERS = {**DINO, "model_type": "dinov2_with_registers", "num_register_tokens": 3}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(**options: Any) -> ifam.Ifam:
    small = {"dim": 32, "depth": 2, "heads": 2, "grid": (4, 6), "parts": PARTS}
    module = initialised(lambda: ifam.build(NOWHERE, LABELS, **{**small, **options}), 0)
    assert isinstance(module, ifam.Ifam)
    return module.eval()


def pictures(count: int = 6, seed: int = 0) -> Batch:
    return Batch(noise(count, 3, 16, 24, seed=seed))


def pixels(mask_Bhw: Tensor) -> Tensor:
    return mask_Bhw.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2).unsqueeze(1)


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


# parts and their mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_hard_mask_is_exactly_the_argmax_not_being_background(dtype: torch.dtype) -> None:
    part_BKhw = parts.likelihoods(3 * noise(4, 5, 8, 8)).to(dtype)
    mask_Bhw = parts.foreground(part_BKhw)
    assert mask_Bhw.dtype == dtype and torch.equal(mask_Bhw.bool(), part_BKhw[:, :-1].amax(1) > part_BKhw[:, -1])
    assert set(mask_Bhw.unique().tolist()) == {0.0, 1.0}


def test_the_hard_mask_is_the_max_forward_and_the_sum_backward() -> None:
    part_BKhw = parts.likelihoods(noise(1, 4, 3, 3)).requires_grad_()
    parts.foreground(part_BKhw).sum().backward()
    assert part_BKhw.grad is not None
    assert part_BKhw.grad[:, :-1].eq(1).all() and part_BKhw.grad[:, -1].eq(0).all()
    soft_BKhw = part_BKhw.detach().requires_grad_()
    parts.foreground(soft_BKhw, soft=True).sum().backward()
    likeliest_BKhw = F.one_hot(soft_BKhw[:, :-1].argmax(1), 3).permute(0, 3, 1, 2).float()
    assert soft_BKhw.grad is not None and torch.equal(soft_BKhw.grad[:, :-1], likeliest_BKhw)


def test_a_dropped_part_is_background_and_a_kept_one_keeps_its_value() -> None:
    part_BKhw = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1).expand(4000, -1, -1, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight_B = parts.foreground(part_BKhw, soft=True, dropout=0.3).flatten()
    assert set(weight_B.unique().tolist()) == {0.0, 0.75}
    assert (weight_B == 0).float().mean().item() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)


def test_gumbel_noise_draws_a_part_as_often_as_it_is_likely() -> None:
    """The argmax of logits with Gumbel noise follows the softmax (arXiv 1611.01144, equation 1)."""
    chances_K = torch.tensor([0.5, 0.3, 0.2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn_BK = parts.likelihoods(chances_K.log().expand(20_000, 3)[..., None, None], draw=True)
    share_K = F.one_hot(drawn_BK.argmax(1).flatten(), 3).float().mean(0)
    assert (share_K - chances_K).abs().max() < 4 * (0.25 / 20_000) ** 0.5


def test_only_unsure_patches_lose_their_part() -> None:
    logits_BKhw = torch.tensor([[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    dot_BKhw = torch.tensor([[5.0, 1.0], [9.0, 9.0], [-9.0, -9.0]]).view(1, 3, 1, 2)
    told_BKhw = parts.confident(logits_BKhw, dot_BKhw, torch.tensor([2.0, -math.inf]))
    assert told_BKhw.argmax(1).flatten().tolist() == [0, 1]


# losses


def test_presence_wants_every_part_somewhere_in_the_batch() -> None:
    part_BKhw = torch.zeros(2, 3, 4, 4)
    part_BKhw[:, 2] = 1
    part_BKhw[0, :, :3, :3] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert part_losses.presence(part_BKhw).item() == pytest.approx(0.5), "the first part is there, the second nowhere"
    part_BKhw[1, :, 1:, 1:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    assert part_losses.presence(part_BKhw).item() == pytest.approx(0.0)
    assert part_losses.presence(torch.full((2, 4, 5, 5), 0.25)).item() == pytest.approx(0.75)


def test_background_presence_wants_background_at_the_edge() -> None:
    part_BKhw = torch.zeros(1, 2, 7, 7)
    part_BKhw[:, 1] = 1
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(0.0)
    part_BKhw[:, 1] = 0
    part_BKhw[0, 1, 0:3, 2:5] = 1  # the middle of the upper edge: 1 of the 2 that a corner has
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(math.log(2))
    part_BKhw[:, 1] = 0.1
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(math.log(10), rel=1e-4)


def test_orthogonality_is_about_parts_in_any_order() -> None:
    vector_BKD = noise(3, 5, 16)
    value = part_losses.orthogonality(vector_BKD)
    torch.testing.assert_close(part_losses.orthogonality(vector_BKD[:, [4, 2, 0, 1, 3]]), value)
    assert part_losses.orthogonality(torch.eye(5)[None]).item() == 0, "5 parts that differ, whatever the dimensions"
    assert part_losses.orthogonality(torch.ones(1, 5, 16)).item() == pytest.approx((25 - 5) / 25)
    assert part_losses.orthogonality(torch.eye(16)[None, :5].mT).item() == pytest.approx(11 / 256), "as released"


def test_the_mask_of_a_turned_picture_is_the_turned_mask() -> None:
    """Parts that are colours follow any turn, so by a right angle nothing is left to pay, nor lost from the frame."""
    x_BCHW = noise(2, 3, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
    part_BKhw = (4 * x_BCHW).softmax(1)
    there_23, back_23 = part_losses.rigid(torch.tensor(math.pi / 2), torch.tensor(1.0), torch.zeros(2), 1.0)
    turned_BCHW = part_losses.warp(x_BCHW, there_23)
    torch.testing.assert_close(turned_BCHW, x_BCHW.rot90(1, (2, 3)), rtol=0, atol=1e-4)
    turned_BKhw = (4 * turned_BCHW).softmax(1)
    assert part_losses.equivariance(part_BKhw, turned_BKhw, back_23).item() == pytest.approx(0.0, abs=1e-3)
    assert part_losses.equivariance(part_BKhw, turned_BKhw, there_23) > 0.1


def test_warps_stay_within_their_limits() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [part_losses.draw_warp(8, 8, torch.device("cpu"))[0] for _ in range(500)]
    scale_N = torch.stack([(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) ** -0.5 for m in drawn])
    move_N2 = torch.stack([m[:, 2] for m in drawn])
    assert 0.8 <= scale_N.min() < 0.82 and 1.38 < scale_N.max() <= 1.4
    assert 0.21 < move_N2.abs().max() <= 0.22, "11 % of a frame that is 2 wide"
    assert all(m[0, 0] >= 0 for m in drawn), "turns of up to a right angle"


# the model


def test_what_the_mask_hides_changes_no_bit_of_the_answer() -> None:
    module, inputs = built(), pictures()
    mask_Bhw = module(inputs).mask_Bhw
    assert 0 < mask_Bhw.mean() < 1
    other = inputs._replace(x_BCHW=torch.where(pixels(mask_Bhw) == 1, inputs.x_BCHW, 100 * pictures(seed=1).x_BCHW))
    assert torch.equal(module(inputs).logits_BK, module(inputs, mask_Bhw).logits_BK)
    assert (module(inputs, mask_Bhw).logits_BK - module(other, mask_Bhw).logits_BK).abs().max() == 0
    assert not torch.equal(module(other).mask_Bhw, mask_Bhw), "but the first stage sees everything: its mask may move"


def test_a_late_mask_leaks() -> None:
    module, inputs = built(where="late"), pictures()
    mask_Bhw = module(inputs).mask_Bhw
    other = inputs._replace(x_BCHW=torch.where(pixels(mask_Bhw) == 1, inputs.x_BCHW, pictures(seed=1).x_BCHW))
    assert (module(inputs, mask_Bhw).logits_BK - module(other, mask_Bhw).logits_BK).abs().max() > 1e-3
    unmasked_BK = module.second(inputs.x_BCHW).logits_BK
    torch.testing.assert_close(module(inputs, torch.ones(6, 4, 6)).logits_BK, unmasked_BK, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"soft": True}, {"where": "late"}, {"prune": True}], ids=str)
def test_an_empty_mask_gives_one_finite_answer(options: dict[str, Any]) -> None:
    answers_BK = built(**options)(pictures(), torch.zeros(6, 4, 6)).logits_BK
    assert answers_BK.isfinite().all() and torch.equal(answers_BK, answers_BK[:1].expand(6, -1))


def test_training_draws_its_mask_and_evaluation_does_not() -> None:
    module, inputs = built().train(), pictures(16)
    assert not torch.equal(module(inputs).mask_Bhw, module(inputs).mask_Bhw)
    module.eval()
    assert torch.equal(module(inputs).mask_Bhw, (module.parts(inputs) != PARTS).float())


@pytest.mark.parametrize(("options", "reached"), [
    ({}, True), ({"soft": True}, True), ({"where": "late"}, True), ({"coupling": "detached"}, False),
], ids=str)  # fmt: skip
def test_the_second_stages_loss_reaches_the_first_only_when_joint(options: dict[str, Any], reached: bool) -> None:
    module = built(**options).train()
    F.cross_entropy(module(pictures()).logits_BK, torch.arange(6) % LABELS).backward()
    gradients = [p.grad for p in (module.first.prototype_KD, module.first.vit.embedding.weight)]
    assert [grad is not None and grad.norm().item() > 0 for grad in gradients] == [reached] * 2
    assert all(p.grad is not None for p in module.second.parameters())


def test_the_first_stages_answer_and_losses_are_told_in_training_alone() -> None:
    module = built(cost={"entropy": 0.0, "variation": 3.0}).train()
    extras = module(pictures()).extras
    weight = {**dict.fromkeys(extras, 1.0), "background_presence": 2.0, "entropy": 0.0, "variation": 3.0}
    paid = sum(weight[name] * extras[name] for name in (
        "presence", "background_presence", "equivariance", "variation", "entropy", "orthogonality"
    ))  # fmt: skip
    torch.testing.assert_close(extras["energy"], torch.as_tensor(paid).expand(6))
    assert extras["auxiliary_logits"].shape == (6, LABELS)
    assert set(module.eval()(pictures()).extras) == {"norm", "auxiliary_logits", "empty"}


def test_the_first_stage_answers_with_the_mean_over_parts() -> None:
    first, inputs = built().first, pictures()
    found = first.find(inputs.x_BCHW)
    vector_BKD = torch.stack([(found.x_BDhw * found.part_BKhw[:, [part]]).mean((2, 3)) for part in range(PARTS + 1)], 1)
    norm = first.modulation(vector_BKD)
    expected_BC = torch.stack([first.linear(norm[:, part]) for part in range(PARTS)]).mean(0)
    torch.testing.assert_close(first(inputs).logits_BK, expected_BC, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.mean((1, 2)), torch.zeros(6), rtol=0, atol=1e-5)


def test_pruned_evaluation_gives_the_same_answers() -> None:
    whole, pruned, inputs = built(), built(prune=True), pictures()
    keep_Bhw = (noise(6, 4, 6, seed=3) > torch.linspace(-1, 2, 6)[:, None, None]).float()
    keep_Bhw[-1] = 0
    computed = pruned.second(inputs.x_BCHW, keep_Bhw).token_BND.shape[1]
    assert computed == keep_Bhw.sum((1, 2)).max() < 24
    for forced in (keep_Bhw, None):
        torch.testing.assert_close(
            pruned(inputs, forced).logits_BK, whole(inputs, forced).logits_BK, rtol=0, atol=1e-4
        )  # fmt: skip
    assert pruned.train().second(inputs.x_BCHW, keep_Bhw).token_BND.shape[1] == 24


def test_removing_all_parts_empties_the_mask_and_removing_none_changes_nothing() -> None:
    module, inputs = built(), pictures()
    output, whole = module(inputs), module.without()
    assert torch.equal(whole(inputs).logits_BK, output.logits_BK) and torch.equal(
        whole(inputs).mask_Bhw, output.mask_Bhw
    )
    nothing = module.without(*range(PARTS))(inputs)
    assert nothing.mask_Bhw.eq(0).all() and nothing.extras["empty"].eq(1).all()
    assert torch.equal(nothing.logits_BK, module(inputs, torch.zeros(6, 4, 6)).logits_BK)


@pytest.mark.parametrize("options", [{}, {"soft": True}, {"coupling": "sequential"}], ids=str)
def test_removing_a_part_hides_its_patches_and_no_other(options: dict[str, Any]) -> None:
    module, inputs = built(**options), pictures()
    before_Bhw, mask_Bhw = module.parts(inputs), module(inputs).mask_Bhw
    assert before_Bhw.unique().numel() > 2
    part = int(before_Bhw[before_Bhw != PARTS].mode().values)
    poorer = module.without(part)
    assert torch.equal(poorer.parts(inputs), torch.where(before_Bhw == part, PARTS, before_Bhw))
    after_Bhw = poorer(inputs).mask_Bhw
    assert after_Bhw[before_Bhw == part].eq(0).all() and after_Bhw.isfinite().all()
    assert after_Bhw[before_Bhw != part].ge(mask_Bhw[before_Bhw != part]).all()
    assert torch.equal(module.parts(inputs), before_Bhw), "the model itself is as it was"
    with pytest.raises(FieldmarkError, match="no part 4: this model has the parts 0 to 3"):
        module.without(PARTS)


def test_confidence_takes_the_least_sure_share_of_a_parts_patches() -> None:
    module, inputs = built(), pictures(32)
    before_Bhw, answer = module.parts(inputs), module(inputs).logits_BK
    module.demand_confidence([(inputs, torch.zeros(32), torch.zeros(32))], 0.25)
    after_Bhw = module.parts(inputs)
    for part in before_Bhw[before_Bhw != PARTS].unique().tolist():
        had = int((before_Bhw == part).sum())
        kept = int(((before_Bhw == part) & (after_Bhw == part)).sum())
        assert kept == had - int(0.25 * (had - 1)), "as many as lie below the quantile are lost"
    assert set(module.state_dict()) == set(built().state_dict())
    again = built()
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.parts(inputs), after_Bhw)
    module.demand_confidence([], 0)
    assert torch.equal(module(inputs).logits_BK, answer)


def test_where_nothing_is_seen_weights_still_have_a_finite_slope() -> None:
    token_BND, weight_BN = torch.tensor([[[2.0], [4.0]]]), torch.zeros(1, 2, requires_grad=True)
    mean_BD = weighted_mean(token_BND, weight_BN)
    mean_BD.sum().backward()
    assert mean_BD.item() == 0 and weight_BN.grad is not None and weight_BN.grad.tolist() == [[2.0, 4.0]]


def test_sequential_training_fixes_the_first_stage_before_the_second_learns() -> None:
    module = built(coupling="sequential")
    batches = [(pictures(), torch.arange(6) % LABELS, torch.zeros(6, dtype=torch.int64))]
    states, names = [{name: value.clone() for name, value in module.state_dict().items()}], []
    for name, phase in phases(module):
        names.append(name)
        fit(phase, lambda _: batches, objective=lambda logits, labels, _: F.cross_entropy(logits, labels),
            epochs=1, lr=1e-3, weight_decay=0.0)  # fmt: skip
        states.append({name: value.clone() for name, value in module.state_dict().items()})
    changed = [
        {key.split(".")[0] for key in old if not torch.equal(old[key], new[key])} for old, new in pairwise(states)
    ]
    assert names == ["first", ""] and changed == [{"first"}, {"second"}]


def test_pretrained_vits_start_both_stages_and_learn_at_their_own_rate() -> None:
    backbone = hub.load(config=REGISTERS)
    module = initialised(lambda: ifam.build(backbone, LABELS, weights="backbone", freeze="blocks", vit_lr=1e-4), 0)
    assert isinstance(module, ifam.Ifam)
    output = module.train()(Batch(noise(4, 3, 56, 56)))
    assert output.mask_Bhw.shape == (4, 4, 4)
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not any(name.startswith("first.vit.blocks.") for name in learning)
    assert {"first.vit.prefix_1QD", "first.vit.position_1Dhw", "second.vit.blocks.0.fc1.weight"} <= learning
    assert module.lr_factors == {"first.vit.": 1e-4, "first.prototype_KD": 0.1, "second.vit.": 1e-4}
    assert not any(p.requires_grad for p in built(freeze="vit").first.vit.parameters())


def test_training_works_in_half_precision() -> None:
    module = built().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = module(pictures())
    (output.logits_BK.float().square().mean() + output.extras["energy"].mean()).backward()
    assert output.extras["energy"].dtype == torch.float32 and set(output.mask_Bhw.unique().tolist()) <= {0.0, 1.0}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.second.parameters())
    assert module.first.prototype_KD.grad is not None and module.first.prototype_KD.grad.isfinite().all()


def test_a_loss_that_is_unknown_is_refused() -> None:
    with pytest.raises(FieldmarkError, match="ifam has no loss concentration: `cost` weighs presence"):
        built(cost={"concentration": 1.0})


def test_measures_count_what_removal_costs() -> None:
    module, inputs = built(), pictures(8)
    labels_B, groups_B = module.without(1)(inputs).logits_BK.argmax(1), torch.zeros(8)
    halves = [(Batch(inputs.x_BCHW[rows]), labels_B[rows], groups_B[rows]) for rows in (slice(0, 5), slice(5, 8))]
    found = ifam.measures(module, halves)
    assert found.keys() == ifam.MEANINGS.keys() == ifam.HIGHER_IS_BETTER.keys()
    expected = {
        f"part {part}": (module.without(part)(inputs).logits_BK.argmax(1) == labels_B).double().mean().item()
        for part in range(PARTS)
    }
    assert expected["part 1"] == 1.0 and found["part_removal_accuracy"].means() == pytest.approx(expected)
    assert found["part_removal_worst"].value == min(expected.values())
    assert found["part_removal_accuracy"].rows.tolist() == [*range(8)] * PARTS
    used = [len(set(part_N.tolist()) - {PARTS}) / PARTS for part_N in module.parts(inputs).flatten(1)]
    assert found["parts_used"].values.tolist() == used and found["empty_mask_share"].value == 0
    blind = ifam.measures(module.without(*range(PARTS)), halves)
    assert blind["empty_mask_share"].value == 1 and blind["parts_used"].value == 0


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
