"""iFAM: the method's acceptance tests (leak, coupling, pruning, removal), and known answers."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_vits import LABELS, PARTS, PATCH, REGISTERS, built, noise, pictures
from torch import Tensor

from fieldmark.backbones import hub
from fieldmark.core.contracts import Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.part_losses import orthogonality
from fieldmark.models import ifam
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import phases


def pixels(mask_Bhw: Tensor) -> Tensor:
    return mask_Bhw.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2).unsqueeze(1)


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
    assert list(module.lr_factors.items()) == [  # the first prefix that fits counts
        ("first.vit.", 1e-4), ("first.prototype_KD", 0.1), ("second.vit.norm.", 1.0), ("second.vit.", 1e-4),
    ]  # fmt: skip
    assert not any(p.requires_grad for p in built(freeze="vit").first.vit.parameters())


def test_training_works_in_half_precision() -> None:
    module = built().train()
    with torch.autocast("cpu", torch.bfloat16):
        output = module(pictures())
    (output.logits_BK.float().square().mean() + output.extras["energy"].mean()).backward()
    assert output.extras["energy"].dtype == torch.float32 and set(output.mask_Bhw.unique().tolist()) <= {0.0, 1.0}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.second.parameters())
    assert module.first.prototype_KD.grad is not None and module.first.prototype_KD.grad.isfinite().all()


@pytest.mark.parametrize("released", [False, True])
def test_what_must_be_orthogonal_is_parts_or_as_released_dimensions(released: bool) -> None:
    module, made = built(released_orthogonality=released).train(), []
    module.first.modulation.register_forward_hook(lambda *call: made.append(call[2]))
    cost = module(pictures()).extras["orthogonality"]
    (vector_BKD,) = made
    assert vector_BKD.shape == (6, PARTS + 1, 32)
    torch.testing.assert_close(cost, orthogonality(vector_BKD.mT if released else vector_BKD))


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
