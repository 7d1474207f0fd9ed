"""Early exit by summed logits (AnchorNet, arXiv 2206.03367): stop looking as soon as the sum of all looks is sure.

All thresholds are judged from one table per set of examples: how sure and how right each example is after each step.
Thresholds are one for each step but the last, where everything leaves.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Table(NamedTuple):
    """What each of N examples is after each of S steps."""

    confidence_NS: Tensor  # highest probability
    correct_NS: Tensor  # bool


class Point(NamedTuple):
    """What a choice of thresholds gives."""

    thresholds: tuple[float, ...]
    accuracy: float
    cost: float  # mean over examples, in the unit of the steps' costs
    leaving_S: tuple[float, ...]  # share of examples that leave at each step


def confidence(logits_K: Tensor) -> Tensor:
    """Return the highest probability (...) of logits (..., K), in float32.

    >>> confidence(torch.tensor([0.0, 0.0])).item()
    0.5
    """
    return logits_K.float().softmax(-1).amax(-1)


def tabulate(summed_NSK: Tensor, labels_N: Tensor) -> Table:
    """Return the table of logits summed up to each step."""
    return Table(confidence(summed_NSK), summed_NSK.argmax(-1) == labels_N[:, None])


def leave(confidence_NS: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return at which step (N,), from 0, each example leaves: the first where it is surer than the threshold.

    >>> leave(torch.tensor([[0.9, 0.2], [0.8, 0.9]]), [0.85]).tolist()
    [0, 1]
    """
    limits = (*thresholds, -torch.inf)
    sure_NS = torch.stack([one_N > limit for one_N, limit in zip(confidence_NS.unbind(1), limits, strict=True)], 1)
    return sure_NS.int().argmax(1)  # the first of equal ones


def step_costs(steps: int, first: float, propose: float, patch: float) -> list[float]:
    """Return the cost of leaving at each step: the first look, then once the proposal, then a patch a step.

    >>> step_costs(3, first=10.0, propose=1.0, patch=10.0)
    [10.0, 21.0, 31.0]
    """
    return [first + (propose if step else 0.0) + step * patch for step in range(steps)]


def outcome(table: Table, thresholds: Sequence[float], costs: Sequence[float]) -> Point:
    """Return the accuracy and cost of some thresholds."""
    step_N = leave(table.confidence_NS, thresholds)
    right_N = table.correct_NS.gather(1, step_N[:, None]).double()
    share_S = torch.bincount(step_N, minlength=len(costs)).double() / len(step_N)
    cost = float(share_S @ torch.tensor(costs, dtype=torch.float64, device=share_S.device))
    return Point(tuple(thresholds), float(right_N.mean()), cost, tuple(share_S.tolist()))


def forced(table: Table, costs: Sequence[float]) -> list[Point]:
    """Return what leaving always at the same step gives, for each step."""
    last = len(costs) - 1
    return [outcome(table, [float("inf")] * step + [-1.0] * (last - step), costs) for step in range(len(costs))]


def sweep(table: Table, costs: Sequence[float], choices: Iterable[Sequence[float]]) -> list[Point]:
    """Return what each choice of thresholds gives, cheapest first."""
    return sorted((outcome(table, choice, costs) for choice in choices), key=lambda point: point.cost)


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the accuracy-cost curve: the points that no cheaper or equally cheap one beats, cheapest first.

    >>> [point.cost for point in frontier([Point((), 0.5, 1.0, ()), Point((), 0.4, 2.0, ()), Point((), 0.6, 3.0, ())])]
    [1.0, 3.0]
    """
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.accuracy)):
        if not kept or point.accuracy > kept[-1].accuracy:
            kept.append(point)
    return kept
