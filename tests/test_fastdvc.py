"""The lock file as ``pipelines.fastdvc`` writes it, against DVC's own."""

from collections import OrderedDict
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from dvc import dvcfile
from dvc.utils import strictyaml
from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml, modify_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines import fastdvc
from pipelines.fastdvc import MEMO, modified, parsed

ROOT = Path(__file__).parent.parent
TRICKY = ["1e5", "12345678e9", "0o17", "12:30", "~", "yes", "0x1f", "1_0", "", "a\nb", "- x"]
WORDS = st.text() | st.sampled_from(TRICKY)
SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The beginning of this repository's lock file, to be changed."""
    text = (ROOT / "dvc.lock").read_text()
    (tmp_path / "dvc.lock").write_text(text[: text.index("  evaluate@erm-1:")])
    return tmp_path / "dvc.lock"


def enter(way: Any, file: Path) -> bytes:
    """Enter one cell that is known and one that is new; return what the file then is."""
    with way(str(file)) as data:
        data["stages"]["evaluate@erm-0"] = {"cmd": "python -m stages evaluate", "deps": []}
        params = OrderedDict({"params.yaml": OrderedDict(zeta=1e-3, sizes=[1, 2])})
        data["stages"]["without_end"] = OrderedDict(cmd="python " + "long " * 40, params=params)
    return file.read_bytes()


def test_what_is_replaced_is_what_dvc_uses() -> None:
    assert dvcfile.modify_yaml is modify_yaml
    assert strictyaml.parse_yaml is parse_yaml
    assert dvcfile.LOCK_FILE == "dvc.lock"


def test_a_cell_is_entered_with_the_bytes_that_dvc_writes(lock: Path) -> None:
    before = lock.read_bytes()
    expected = enter(modify_yaml, lock)
    lock.write_bytes(before)
    assert enter(modified, lock) == expected != before


@given(SAID)
def test_dvc_reads_whatever_was_written(tmp_path_factory: pytest.TempPathFactory, said: Any) -> None:
    file = tmp_path_factory.mktemp("lock") / "dvc.lock"
    with modified(str(file)) as data:
        data["said"] = said
    assert load_yaml(str(file)) == {"said": said}


def test_cells_lie_in_the_order_of_their_names_whenever_they_ended(tmp_path: Path) -> None:
    for names in ("ab", "ba"):
        for name in names:
            with modified(str(tmp_path / names / "dvc.lock")) as data:
                data.setdefault("stages", {})[name] = {"cmd": name}
    first, second = (tmp_path / names / "dvc.lock" for names in ("ab", "ba"))
    assert first.read_bytes() == second.read_bytes() == b"stages:\n  a:\n    cmd: a\n  b:\n    cmd: b\n"


def test_what_was_written_last_is_read_without_parsing_and_nothing_else_is(
    lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lock.parent / MEMO.parent).mkdir(parents=True)
    written = enter(modified, lock).decode()
    expected = parse_yaml(written, str(lock))
    monkeypatch.setattr(fastdvc, "parse_yaml", lambda *words: "parsed")
    assert parsed(written, str(lock)) == expected
    assert [*parsed(written, str(lock))["stages"]] == [*expected["stages"]]
    assert parsed(written, str(lock), "rt") == parsed(written + " ", str(lock)) == "parsed"
    (lock.parent / MEMO).write_text("{")
    assert parsed(written, str(lock)) == "parsed"


@pytest.mark.parametrize("said", [{1: "a number"}, {"a": date(2026, 1, 1)}], ids=str)
def test_what_json_cannot_say_is_parsed(tmp_path: Path, said: Any) -> None:
    lock = tmp_path / "dvc.lock"
    (tmp_path / MEMO.parent).mkdir(parents=True)
    with modified(str(lock)) as data:
        data["said"] = said
    assert not (tmp_path / MEMO).exists()
    with modified(str(lock)) as data:
        assert data == {"said": said}


def test_a_change_that_fails_leaves_the_file_as_it_was(lock: Path) -> None:
    before = lock.read_bytes()
    with suppress(KeyboardInterrupt), modified(str(lock)) as data:
        del data["stages"]
        raise KeyboardInterrupt
    assert lock.read_bytes() == before
    assert [*lock.parent.iterdir()] == [lock]


def test_what_is_no_lock_file_is_refused_and_kept(lock: Path) -> None:
    lock.write_text("stages: [")
    with pytest.raises(YAMLFileCorruptedError), modified(str(lock)):
        raise AssertionError
    assert lock.read_text() == "stages: ["


def test_comments_of_people_stay(tmp_path: Path) -> None:
    graph = tmp_path / "dvc.yaml"
    graph.write_text("# why\nstages:\n  pull:  # first\n    cmd: x\n")
    with modified(str(graph)) as data:
        data["stages"]["pull"]["cmd"] = "y"
    assert graph.read_text() == "# why\nstages:\n  pull:  # first\n    cmd: y\n"
