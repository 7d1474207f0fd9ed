"""The gate and its ledger: every verdict built by hand, every edit found."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bench.coverage import World, study
from fieldmark.core.contracts import Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.stats import Observed, difference, interval
from fieldmark.tracking import gate, ledger


def judged(low: float, high: float, *, group: int = 50, comparable: bool = True) -> str:
    difference = SimpleNamespace(mean=(low + high) / 2, low=low, high=high)
    return gate.decide(difference, smallest_group=group, minimum_group=50, comparable=comparable).verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.10, "promote"),
        (-0.10, -0.01, "keep"),
        (-0.01, 0.10, "not enough evidence"),
        (0.0, 0.10, "not enough evidence"),  # zero is covered by its own end
        (-0.10, 0.0, "keep"),
        (0.0, 0.0, "keep"),  # the same model again
        (float("nan"), float("nan"), "not enough evidence"),
    ],
)
def test_the_interval_decides(low: float, high: float, verdict: str) -> None:
    assert judged(low, high) == verdict


def test_small_groups_and_other_splits_are_no_evidence_either_way() -> None:
    assert judged(0.1, 0.2, group=49) == "not enough evidence"
    assert judged(-0.2, -0.1, comparable=False) == "not enough evidence"


def test_each_check_is_written_down_with_what_was_found_and_needed() -> None:
    difference = SimpleNamespace(mean=0.1, low=0.05, high=0.15)
    decision = gate.decide(difference, smallest_group=7, minimum_group=50, comparable=True)
    assert [reason["passed"] for reason in decision.reasons] == [True, False, True]
    assert (decision.reasons[1]["found"], decision.reasons[1]["needed"]) == (7, "at least 50")


def test_the_best_of_the_promoted_wins() -> None:
    yes, no = gate.Decision("promote", []), gate.Decision("keep", [])
    assert gate.winner({"a": (yes, 0.8), "b": (yes, 0.9), "c": (no, 0.99)}) == "b"
    assert gate.winner({"b": (yes, 0.8), "a": (yes, 0.8)}) == "a"
    assert gate.winner({"c": (no, 0.99)}) is None


# The three verdicts, on data whose truth is known

STRONG = {"objects": 0.5, "places": 0.2, "trainings": 0.05, "luck": 0.1}
CHAMPION = (2.5, 0.0, 2.5, 0.5)  # probits of right answers in each group: a model that leans on the background
HOW = {"draws": 500, "level": 0.95, "cluster": ["fg_source"]}


def put_before(other: tuple[float, ...], *, minimum: int = 50, limits: Sequence[gate.Limit] = ()) -> gate.Decision:
    """Judge a challenger that answers as ``other`` says, on validation as large as wildstamps'."""
    champion, challenger = study(World(CHAMPION, other, **STRONG), np.random.default_rng(1), "val", seeds=3)
    found = difference(challenger, champion, **HOW)
    smallest = min(min(one.score.counts().values()) for one in challenger)
    return gate.decide(found, smallest_group=smallest, minimum_group=minimum, comparable=True, limits=limits)


def ceiling(gap: float, *, spread: float = 0.02, bound: float = 0.1) -> gate.Limit:
    """Return the limit of a model whose accuracy falls by ``gap`` where backgrounds are random."""
    rng, objects = np.random.default_rng(2), np.repeat(np.arange(14), 30)
    same, other = 0.95 + spread * rng.normal(size=14)[objects], 0.95 - gap + spread * rng.normal(size=14)[objects]
    cells = np.repeat(["mixed_same", "mixed_rand"], 420)
    weights = {"mixed_same": 1.0, "mixed_rand": -1.0}
    rows = np.tile(np.arange(420), 2)
    score = Score(np.concatenate([same, other]), cells, rows, "contrast", 0.0, weights)
    sources = pd.DataFrame({"fg_source": objects.astype(str), "bg_source": "scene"})
    return gate.Limit("BG-Gap", interval([Observed(score, sources)] * 3, **HOW), bound, at_most=True)


BETTER, EQUAL, WORSE = (2.5, 1.5, 2.5, 2.0), CHAMPION, (2.5, -1.5, 2.5, -0.5)


@pytest.mark.parametrize(("other", "verdict"), [(BETTER, "promote"), (EQUAL, "not enough evidence"), (WORSE, "keep")])
def test_a_better_challenger_is_promoted_an_equal_one_is_not_and_a_worse_one_is_turned_down(other, verdict) -> None:
    assert put_before(other).verdict == verdict
    assert put_before(other, minimum=101).verdict == "not enough evidence"  # groups of 100 were too small


@pytest.mark.parametrize(
    ("gap", "spread", "verdict"),
    [(0.02, 0.02, "promote"), (0.3, 0.02, "keep"), (0.1, 0.1, "not enough evidence"), (0.0, 0.0, "promote")],
)
def test_a_better_challenger_that_leans_on_the_background_is_kept_out(gap, spread, verdict) -> None:
    found = put_before(BETTER, limits=[ceiling(gap, spread=spread)])
    assert found.verdict == verdict
    assert found.reasons[-1]["check"] == "BG-Gap on validation"
    assert found.reasons[-1]["needed"] == "whole interval at most 0.1"
    assert found.reasons[-1]["passed"] is (verdict == "promote")
    assert put_before(WORSE, limits=[ceiling(gap, spread=spread)]).verdict == "keep"  # one failed check is enough


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.55, 0.70, "promote"),  # at the floor is on it
        (0.50, 0.60, "not enough evidence"),
        (0.45, 0.54, "keep"),
        (float("nan"), float("nan"), "not enough evidence"),
    ],
)
def test_a_mask_that_misses_the_object_keeps_its_model_out(low: float, high: float, verdict: str) -> None:
    found = SimpleNamespace(mean=(low + high) / 2, low=low, high=high)
    assert put_before(BETTER, limits=[gate.Limit("mask AUC", found, 0.55, at_most=False)]).verdict == verdict


def test_a_model_that_claims_no_mask_is_not_asked_for_one() -> None:
    decision = put_before(BETTER, limits=[gate.Limit("mask AUC", None, 0.55, at_most=False)])
    assert decision.verdict == "promote"
    assert decision.reasons[-1] == {
        "check": "mask AUC on validation",
        "found": "claims no mask",
        "needed": "whole interval at least 0.55",
        "passed": True,
    }


def write(path: Path, challenger: str, verdict: str = "promote") -> bool:
    decision = gate.Decision(verdict, [{"check": "x", "found": 1, "needed": "2", "passed": False}])
    return ledger.append(path, decision, model="m", challenger=challenger, champion=None, lineage={challenger: "abc"})


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "registered" / "ledger.jsonl"
    assert all(write(path, challenger) for challenger in "123")
    return path


def test_a_ledger_holds_each_decision_once_in_order(book: Path) -> None:
    before = book.read_bytes()
    assert not write(book, "2")
    assert book.read_bytes() == before
    assert [line["challenger"] for line in ledger.read(book)] == ["1", "2", "3"]
    assert ledger.verify(book) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda lines: [lines[0].replace(b"promote", b"keep   "), *lines[1:]], "line 1 was changed"),
        (lambda lines: [*lines[:2], lines[2].replace(b"promote", b"keep   ")], "line 3 was changed"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow line 1"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow line 0"),
        (lambda lines: [*lines[:2], lines[2][:40]], "line 3 is not a whole decision"),
        (lambda lines: [lines[0], b"\xff" + lines[1][1:], lines[2]], "line 2 is not a whole decision"),
        (lambda lines: [*lines[:2], lines[2].rstrip(b"\n")], "line 3 is not a whole decision"),
    ],
)
def test_an_edit_is_found_and_nothing_more_is_written(
    book: Path, damage: Callable[[list[bytes]], list[bytes]], found: str
) -> None:
    book.write_bytes(b"".join(damage(book.read_bytes().splitlines(keepends=True))))
    assert any(found in problem for problem in ledger.verify(book))
    damaged = book.read_bytes()
    with pytest.raises(FieldmarkError, match=r"ledger\.jsonl: line"):
        write(book, "4")
    assert book.read_bytes() == damaged


def promotion(
    challenger: str, champion: str | None, *, verdict: str = "promote", model: str = "m"
) -> dict[str, object]:
    return {"model": model, "verdict": verdict, "challenger": challenger, "champion": champion}


HISTORY = [promotion("1", None), promotion("2", "1", verdict="keep"), promotion("9", None, model="another")]
ROUND = [*HISTORY, promotion("2", "1"), promotion("3", "1"), promotion("4", "1", verdict="keep")]


@pytest.mark.parametrize(
    ("decisions", "champion", "found"),
    [
        ([], None, None),
        (HISTORY, "1", None),
        (HISTORY, "2", "the champion is version 2, but the ledger's last promotion is of version 1: somebody moved"),
        (HISTORY, None, "there is no champion, but the ledger's last promotion is of version 1: somebody moved"),
        ([], "2", r"there is a champion \(version 2\) and no promotion in the ledger: restore the ledger"),
        (HISTORY[1:], "1", r"there is a champion \(version 1\) and no promotion"),
        (ROUND, "2", None),  # one of two that were promoted at once: the better one won
        (ROUND, "3", None),
        (ROUND, "4", "the champion is version 4, but the ledger's last promotion is of version 2 or 3"),
        (ROUND, "1", "the champion is version 1, but"),
        ([*ROUND, promotion("1", "3"), promotion("3", "1")], "2", "last promotion is of version 3:"),
    ],
)
def test_a_champion_that_the_gate_did_not_choose_last_is_found(decisions, champion, found) -> None:
    problems = ledger.astray(decisions, "m", champion)
    assert bool(problems) == bool(found)
    assert re.search(found or "", "".join(problems))
