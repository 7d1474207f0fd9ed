"""The gate and its ledger: every verdict built by hand, every edit found."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fieldmark.core.errors import FieldmarkError
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
