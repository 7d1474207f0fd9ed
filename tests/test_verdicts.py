"""A verdict is the same bytes from equal tables, refuses in one sentence, and its page loads nothing."""

import tempfile

import good_tables
import pytest
from good_tables import checked, judged

from fieldmark.checks import demand, write_docs
from fieldmark.checks.expectations import _any_table
from fieldmark.core import store
from fieldmark.core.errors import FieldmarkError

root = pytest.fixture(good_tables.root)
index = pytest.fixture(good_tables.index)
sources = pytest.fixture(good_tables.sources)
recipes = pytest.fixture(good_tables.recipes)


def test_equal_tables_give_equal_bytes_in_any_order_of_rows(recipes, sources, tmp_path):
    recipes.loc[recipes["part"] == "train", "crop_y"] = 1
    shuffled = recipes.sample(frac=1, random_state=0), sources.sample(frac=1, random_state=0)
    for name, tables in {"a": (recipes, sources), "b": shuffled}.items():
        verdict = checked(*tables)
        store.write_json(tmp_path / f"{name}.json", verdict._asdict())
        write_docs(verdict, tmp_path / name / "split" / "0")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a/split/0/index.html").read_bytes() == (tmp_path / "b/split/0/index.html").read_bytes()
    assert store.read_json(tmp_path / "a.json")["passed"] is False


def test_a_refusal_is_one_sentence_with_the_first_failing_ids(recipes, sources):
    recipes.loc[recipes["part"] != "train", "crop_y"] = 1  # 24 examples
    with pytest.raises(FieldmarkError) as refused:
        demand(checked(recipes, sources), "the split of seed 0")
    sentence = str(refused.value)
    assert sentence.startswith("the split of seed 0 may not pass: 18 of 19 expectations hold; not so: crops lie inside")
    assert sentence.count("test-") == 8
    assert "(24: test-bird-land-0, " in sentence
    assert ", ...)" in sentence
    assert "\n" not in sentence


def test_docs_load_nothing_and_escape_what_tables_hold(index, root, tmp_path):
    index.loc[0, "source_id"] = "<script>alert(1)</script>"
    index.loc[0, "licence"] = ""
    write_docs(judged(index, root), tmp_path / "docs")
    page = (tmp_path / "docs/index.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    for loader in ("<script", "<link", "<img", "url(", "http"):
        assert loader not in page


def test_great_expectations_is_quiet_and_leaves_nothing_behind(recipes, sources, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _any_table.cache_clear()
    checked(recipes, sources)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
