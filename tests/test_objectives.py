"""Objectives against arithmetic done by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from classroom import TRAIN, built
from torch import Tensor

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError
from fieldmark.objectives import group_dro, jtt, reweight, subsample
from fieldmark.objectives._shared import Targets
from fieldmark.training import rounds

OBJECTIVES = plugins.names("objectives")


def drawn(objective: Any, seed: int = 0) -> list[int]:
    rows: list[int] = objective.rows(np.random.default_rng(seed)).tolist()
    return rows


def logits(*losses: float) -> Tensor:
    """Return answers (B, 2) of which class 0 costs the given cross-entropies."""
    return torch.tensor([[0.0, math.log(math.expm1(loss))] for loss in losses], dtype=torch.float64)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_declares_what_it_needs_and_gives_a_scalar_that_answers_can_follow(name: str) -> None:
    assert plugins.find("objectives", name).SUPERVISION in ("none", "train groups", "val groups")
    objective, answers_BK = built(name), torch.zeros(8, 2, requires_grad=True)
    loss = objective(answers_BK, *(torch.from_numpy(part) for part in TRAIN[:2]))
    loss.backward()
    assert loss.shape == () and answers_BK.grad is not None and answers_BK.grad.abs().sum() > 0
    assert not list(objective.parameters()), "an objective learns nothing"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_epoch_shows_rows_of_the_training_part_and_repeats_itself(name: str) -> None:
    objective = built(name)
    if isinstance(objective, rounds.Draws):
        assert set(drawn(objective)) <= set(range(8)) and drawn(objective) == drawn(objective) != drawn(objective, 1)


@pytest.mark.parametrize("name", ["erm", "jtt", "subsample", "dfr_train", "dfr_val"])
def test_most_objectives_are_the_mean_cross_entropy(name: str) -> None:
    assert built(name)(logits(0.5, 2.0), torch.tensor([0, 0]), torch.tensor([0, 1])).item() == pytest.approx(1.25)


def test_reweighting_is_the_plain_mean_where_groups_are_balanced() -> None:
    balanced = Targets(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3]))
    answers_BK, labels_B, groups_B = logits(1, 2, 3, 4, 5, 6), torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(6) % 4
    weighted, mean = (built(name, balanced)(answers_BK, labels_B, groups_B) for name in ("reweight", "erm"))
    assert weighted.item() == pytest.approx(mean.item(), rel=1e-6)


def test_reweighting_is_the_mean_of_the_groups_means_over_an_epoch() -> None:
    """Three examples lose 1, one of another group 5: (1 + 5) / 2; the group that does not occur counts nothing."""
    train = Targets(np.zeros(4, int), np.array([0, 0, 0, 2]))
    objective = reweight.build(train)
    assert objective(logits(1, 1, 1, 5), torch.zeros(4, dtype=int), torch.tensor([0, 0, 0, 2])).item() == pytest.approx(
        3
    )
    assert objective.get_buffer("weights_G")[[0, 2]].tolist() == pytest.approx([4 / 6, 2])
    assert objective.get_buffer("weights_G")[1].isnan(), "of a group that training never had"


def test_subsampling_shows_as_many_of_each_group_and_always_the_same() -> None:
    objective = subsample.build(TRAIN._replace(seed=1))
    shown = drawn(objective)
    assert sorted(TRAIN.groups_N[shown]) == [0, 1, 2, 3] and {3, 7} <= set(shown)
    assert sorted(shown) == sorted(drawn(objective, 1))
    others = {tuple(sorted(drawn(subsample.build(TRAIN._replace(seed=seed))))) for seed in range(100)}
    assert len(others) == 9, "any of three with any of three"


def test_group_dro_by_hand() -> None:
    """Losses 2 and 1 (mean 1.5) in group 0, 3 in group 1: q starts even and moves by exp(eta L) before it weighs."""
    objective = group_dro.build(Targets(np.zeros(3, int), np.array([0, 0, 1])), step=0.5)
    groups_B, labels_B = torch.tensor([0, 0, 1]), torch.zeros(3, dtype=int)
    raised = np.exp(0.5 * np.array([1.5, 3.0]))
    q_G = raised / raised.sum()
    assert objective(logits(2, 1, 3), labels_B, groups_B).item() == pytest.approx(q_G @ [1.5, 3.0], rel=1e-6)
    assert objective.get_buffer("q_G").tolist() == pytest.approx(q_G, rel=1e-6)
    q_G = q_G * np.exp(0.5 * np.array([1.0, 0.0]))  # a group that is not in the batch has the loss 0
    assert objective(logits(1), labels_B[:1], groups_B[:1]).item() == pytest.approx(q_G[0] / q_G.sum(), rel=1e-6)
    assert objective.get_buffer("q_G").tolist() == pytest.approx(q_G / q_G.sum(), rel=1e-6)


def test_group_dros_adjustment_takes_small_groups_to_lose_more() -> None:
    """With C = 2, a group of 4 is taken to lose 1 more, one of 1 to lose 2 more; one of none has no weight at all."""
    objective = group_dro.build(Targets(np.zeros(5, int), np.array([0, 0, 0, 0, 2])), step=1.0, adjustment=2.0)
    assert objective.get_buffer("q_G").tolist() == [0.5, 0, 0.5]
    objective(logits(1, 1), torch.zeros(2, dtype=int), torch.tensor([0, 2]))
    assert objective.get_buffer("q_G").tolist() == pytest.approx([1 / (1 + math.e), 0, math.e / (1 + math.e)])


def test_group_dro_pulls_nothing_but_the_answers() -> None:
    """The gradient is q's weighted mean; it does not flow through q."""
    objective = group_dro.build(Targets(np.zeros(2, int), np.array([0, 1])), step=1.0)
    answers_BK = logits(1, 2).requires_grad_()
    objective(answers_BK, torch.zeros(2, dtype=int), torch.tensor([0, 1])).backward()
    wrong_B = answers_BK.detach().softmax(1)[:, 1]
    assert answers_BK.grad is not None
    torch.testing.assert_close(answers_BK.grad[:, 1], objective.get_buffer("q_G") * wrong_B, check_dtype=False)


def test_group_dro_draws_groups_evenly_or_every_row_once() -> None:
    many = Targets(np.zeros(1000, int), np.where(np.arange(1000) < 50, 0, 1))
    share = np.mean([np.mean(np.array(drawn(group_dro.build(many), seed)) < 50) for seed in range(10)])
    assert abs(share - 0.5) < 4 * (0.25 / 10_000) ** 0.5  # four standard errors
    assert sorted(drawn(group_dro.build(many, uniform=False))) == list(range(1000))


def test_the_second_round_of_jtt_shows_errors_several_times() -> None:
    second = jtt.build(TRAIN, upsample=3).second(np.arange(8) == 3)
    assert sorted(drawn(second)) == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7]
    answers_NK, labels_N = logits(1, 1, 1, 6, 1, 1, 1, 1), torch.zeros(8, dtype=int)
    epoch = drawn(second)
    assert second(answers_NK[epoch], labels_N[epoch], labels_N[epoch]).item() == pytest.approx((7 + 3 * 6) / 10)


@pytest.mark.parametrize("wrong", [0, 5])
def test_jtt_refuses_errors_that_say_nothing(wrong: int) -> None:
    with pytest.raises(FieldmarkError, match=rf"gets {wrong} of 8 .* change first_epochs \(now 7"):
        jtt.build(TRAIN, first_epochs=7).second(np.arange(8) < wrong)


@pytest.mark.parametrize("name", ["reweight", "subsample", "group_dro", "dfr_train"])
def test_examples_of_unknown_groups_are_refused(name: str) -> None:
    with pytest.raises(FieldmarkError, match="2 of 8 training examples are in a group that the split does not have"):
        built(name, TRAIN._replace(groups_N=np.where(TRAIN.groups_N % 3, -1, 0)))
