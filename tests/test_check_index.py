"""Each expectation of an index has a table that fails it and nothing else, by known ids; a good one passes."""

import hashlib

import good_tables
import pytest
from good_tables import IMAGES, failing, judged, png

from fieldmark.checks import demand
from fieldmark.core.errors import FieldmarkError

root = pytest.fixture(good_tables.root)
index = pytest.fixture(good_tables.index)


def swap(index, root, which: str, content: bytes, column: str = "") -> None:
    """Give a source other bytes (or, with column "mask_", its mask), and tell the index."""
    row = index["source_id"] == which
    (root / "other.bin").write_bytes(content)
    index.loc[row, [f"{column}shard", f"{column}offset", f"{column}bytes"]] = ["other.bin", 0, len(content)]
    if not column:
        index.loc[row, "sha256"] = hashlib.sha256(content).hexdigest()


def test_a_good_index_passes(index, root):
    verdict = judged(index, root)
    assert failing(verdict) == {}
    assert verdict.statistics["role"] == {"cutout": 2, "scene": 2, "photo": 1}
    demand(verdict, "the index")


@pytest.mark.parametrize(
    ("source", "column", "value", "expectation"),
    [
        ("lake", "source_id", "field", "source ids are unique"),
        ("bird-0", "role", "statue", "roles are photo, cutout, scene"),
        ("bird-0", "label", "cat", "cut-outs and photos show bird, dog"),
        ("photo-0", "label", "", "cut-outs and photos show bird, dog"),
        ("lake", "label", "bird", "scenes have no label"),
        ("lake", "background", "sky", "scenes and photos show land, water"),
        ("photo-0", "background", "", "scenes and photos show land, water"),
        ("bird-0", "background", "land", "cut-outs have no background"),
        ("bird-0", "licence", " ", "every source names its licence"),
        ("bird-0", "licence", None, "no value that is checked is missing, for each source_id"),
        ("bird-0", "shard", "lost.bin", "the bytes of every image and mask lie in their shard"),
        ("photo-0", "mask_bytes", 10**6, "the bytes of every image and mask lie in their shard"),
        ("bird-0", "sha256", "0" * 64, "the bytes of every image have the sha256 of the index"),
        ("bird-0", "width", 9, "every image has the width and height of the index"),
        ("photo-0", "mask_shard", "", "every cut-out has an alpha channel and every photo a mask"),
    ],
)
def test_a_wrong_value_fails_its_own_expectation(index, root, source, column, value, expectation):
    index.loc[index["source_id"] == source, column] = value
    ids = ["field", "field"] if column == "source_id" else [source]
    assert failing(judged(index, root)) == {expectation: ids}


@pytest.mark.parametrize(
    ("source", "column", "content", "expectation"),
    [
        ("lake", "", IMAGES["lake"][:-20], "every image and mask decodes to its end"),
        ("lake", "", b"no image", "every image and mask decodes to its end"),
        ("photo-0", "mask_", b"no image", "every image and mask decodes to its end"),
        ("bird-0", "", png("RGB", (8, 6), (9, 9, 9)), "every cut-out has an alpha channel and every photo a mask"),
        ("photo-0", "mask_", png("L", (30, 19), 255), "every mask has the size of its image"),
        ("photo-0", "mask_", png("L", (30, 20), 127), "every mask shows an object"),
        ("bird-0", "", png("RGBA", (8, 6), (9, 9, 9, 0)), "every mask shows an object"),
    ],
    ids=["truncated", "text", "mask is text", "no alpha", "mask of other size", "faint mask", "empty alpha"],
)
def test_wrong_pixels_fail_their_own_expectation(index, root, source, column, content, expectation):
    swap(index, root, source, content, column)
    assert failing(judged(index, root)) == {expectation: [source]}


def test_the_same_bytes_twice_fail(index, root):
    index.loc[1, ["offset", "bytes", "sha256"]] = index.loc[0, ["offset", "bytes", "sha256"]]
    assert failing(judged(index, root)) == {"no two sources have the same bytes": ["bird-0", "dog-0"]}


def test_sizes_are_positive(index, root):
    index.loc[index["source_id"] == "lake", ["width", "height"]] = 0
    found = failing(judged(index, root))
    assert found["widths are positive"] == found["heights are positive"] == ["lake"]


def test_an_empty_index_fails(index, root):
    assert failing(judged(index.iloc[:0], root)) == {"there are sources": []}


def test_a_missing_column_is_a_mistake(index, root):
    with pytest.raises(FieldmarkError, match="licence"):
        judged(index.drop(columns="licence"), root)
