"""Each expectation has a table that fails it and nothing else, by known ids; a good table passes."""

import hashlib
import tempfile
from io import BytesIO
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fieldmark.checks import Verdict, check_index, check_split, demand, write_docs
from fieldmark.checks.expectations import _any_table
from fieldmark.checks.leakage import overlap
from fieldmark.checks.split import phi
from fieldmark.core import store
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import INDEX, RECIPE, conform

PAIRS = {"bird": "water", "dog": "land"}
BAND = {
    "train": 0,
    "train_unbiased": 0,
    "val": 40,
    "test": 80,
}  # left edge of each part's crops; the last 40 px are free


def failing(verdict: Verdict) -> dict[str, list[str]]:
    assert verdict.passed == (not verdict.failures())
    return {finding["expectation"]: finding["failing_ids"] for finding in verdict.failures()}


# The index: two cut-outs, two scenes, and a photo with its mask, all in one shard.


def png(mode: str, size: tuple[int, int], colour: object) -> bytes:
    stream = BytesIO()
    Image.new(mode, size, colour).save(stream, format="png")
    return stream.getvalue()


IMAGES = {
    "bird-0": png("RGBA", (8, 6), (255, 0, 0, 255)),
    "dog-0": png("RGBA", (8, 6), (0, 255, 0, 255)),
    "field": png("RGB", (30, 20), (0, 99, 0)),
    "lake": png("RGB", (30, 20), (0, 0, 99)),
    "photo-0": png("RGB", (30, 20), (99, 99, 99)),
    "photo-0 mask": png("L", (30, 20), 255),
}
SOURCES = pd.DataFrame(
    [
        ("bird-0", "cutout", 8, 6, "bird", ""),
        ("dog-0", "cutout", 8, 6, "dog", ""),
        ("field", "scene", 30, 20, "", "land"),
        ("lake", "scene", 30, 20, "", "water"),
        ("photo-0", "photo", 30, 20, "dog", "water"),
    ],
    columns=["source_id", "role", "width", "height", "label", "background"],
)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "all.bin").write_bytes(b"".join(IMAGES.values()))
    return tmp_path


@pytest.fixture
def index():
    ends = np.cumsum([len(content) for content in IMAGES.values()])
    size = np.diff(ends, prepend=0)
    masked = SOURCES["role"] == "photo"
    columns = {
        "shard": "all.bin",
        "offset": (ends - size)[:5],
        "bytes": size[:5],
        "sha256": [hashlib.sha256(content).hexdigest() for content in IMAGES.values()][:5],
        "mask_shard": np.where(masked, "all.bin", ""),
        "mask_offset": np.where(masked, ends[4], 0),
        "mask_bytes": np.where(masked, size[5], 0),
        "attributes": "{}",
        "licence": "CC0-1.0",
        "attribution": "fieldmark",
    }
    return conform(SOURCES.assign(**columns), INDEX)


def judged(index, root) -> Verdict:
    return check_index(index, root, classes=["bird", "dog"], backgrounds=["land", "water"])


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


# The split: one cut-out per label and side, one scene per background with a band per side.


@pytest.fixture
def sources():
    rows = [
        (f"{label}-{side}", "cutout", label, "") for label in [*PAIRS, "cat"] for side in ("train", "val", "test", "x")
    ]
    rows += [("lake", "scene", "", "water"), ("field", "scene", "", "land"), ("photo", "photo", "bird", "land")]
    columns = ["source_id", "role", "label", "background"]
    return pd.DataFrame(rows, columns=columns).assign(width=160, height=40)


def example(name: str, part: str, label: str, background: str) -> dict[str, object]:
    numbers = dict.fromkeys([column for column, kind in RECIPE.items() if kind != "str"], 0)
    return {
        **numbers,
        "example_id": name,
        "part": part,
        "label": label,
        "background": background,
        "group": f"{label} on {background}",
        "fg_source": f"{label}-{part.removesuffix('_unbiased')}",
        "bg_source": {"water": "lake", "land": "field"}[background],
        "crop_x": BAND.get(part, 120),
        "crop_side": 40,
        "fg_x": 0.5,
        "fg_y": 0.5,
        "fg_scale": 0.6,
        "erase": "",
        "corruption": "",
        "keep": "",
    }


@pytest.fixture
def recipes():
    """8 examples a part, 3 of 4 aligned in train, 2 of 4 elsewhere; ids such as val-dog-water-1."""
    rows = []
    for part, label, background in product(BAND, PAIRS, ("water", "land")):
        count = (3 if PAIRS[label] == background else 1) if part == "train" else 2
        rows += [example(f"{part}-{label}-{background}-{n}", part, label, background) for n in range(count)]
    return conform(pd.DataFrame(rows), RECIPE)


def checked(recipes, sources, correlation=0.75) -> Verdict:
    return check_split(recipes, sources, correlation=correlation, pairs=PAIRS)


def added(recipes, *examples) -> pd.DataFrame:
    return conform(pd.concat([recipes, pd.DataFrame(examples)]), RECIPE)


def ids(recipes, **values) -> list[str]:
    return sorted(recipes.loc[(recipes[list(values)] == pd.Series(values)).all(axis=1), "example_id"])


def test_a_good_split_passes(recipes, sources):
    verdict = checked(recipes, sources)
    assert failing(verdict) == {}
    train = {"examples": 8, "objects": 2, "scenes": 2, "aligned": 0.75, "phi": 0.5}
    assert verdict.statistics["parts"]["train"] == pytest.approx(train)
    assert verdict.statistics["groups"]["val"] == {f"{a} on {b}": 2 for a, b in product(PAIRS, ("land", "water"))}


@pytest.mark.parametrize(
    ("column", "value", "expectation"),
    [
        ("fg_source", "ghost", "every source is in the index"),
        ("fg_source", "field", "objects come from cut-outs or photos, backgrounds from scenes or photos"),
        ("bg_source", "dog-train", "objects come from cut-outs or photos, backgrounds from scenes or photos"),
        ("fg_source", "dog-train", "label and background are those of the sources"),
        ("bg_source", "field", "label and background are those of the sources"),
        ("group", "dog on water", "groups are named '<label> on <background>'"),
        ("crop_x", -1, "crops lie inside their scene"),
        ("crop_y", 1, "crops lie inside their scene"),
        ("crop_side", 0, "crops lie inside their scene"),
        ("fg_x", 0.29, "objects lie inside the frame"),
        ("fg_y", 0.71, "objects lie inside the frame"),
        ("fg_y", np.nan, "objects lie inside the frame"),
        ("fg_scale", 0.0, "objects lie inside the frame"),
    ],
)
def test_a_wrong_value_in_one_recipe_fails_its_own_expectation(recipes, sources, column, value, expectation):
    recipes.loc[recipes["example_id"] == "train-bird-water-1", column] = value
    assert failing(checked(recipes, sources)) == {expectation: ["train-bird-water-1"]}


def test_a_turned_object_needs_more_room(recipes, sources):
    recipes.loc[0, ["fg_scale", "fg_angle"]] = 0.75, 45.0  # a square of 0.75 on its corner is 1.06 wide
    assert failing(checked(recipes, sources)) == {"objects lie inside the frame": [recipes.loc[0, "example_id"]]}


def test_ids_are_unique(recipes, sources):
    recipes.loc[:1, "example_id"] = "twin"
    assert failing(checked(recipes, sources)) == {"example ids are unique": ["twin", "twin"]}


def test_an_unknown_part_fails(recipes, sources):
    dev = example("new", "dev", "bird", "water") | {"fg_source": "bird-x"}
    assert failing(checked(added(recipes, dev), sources)) == {"parts are train, train_unbiased, val, test": ["new"]}


def test_an_undeclared_label_fails(recipes, sources):
    cat = example("new", "train", "cat", "water")
    expected = {"labels are those with a paired background: bird, dog": ["new"]}
    assert failing(checked(added(recipes, cat), sources)) == expected


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_cutout_in_two_parts_fails(recipes, sources, part):
    recipes.loc[recipes["example_id"] == "train-bird-water-1", "fg_source"] = f"bird-{part}"
    leaks = {"no cut-out or photo is in two of training, validation and test"}
    found = failing(checked(recipes, sources))
    assert found.keys() == leaks
    assert found[leaks.pop()] == sorted(["train-bird-water-1", *ids(recipes, part=part, label="bird")])


def test_a_photo_is_in_one_part_be_it_as_object_or_as_background(recipes, sources):
    natural = example("new-a", "train", "bird", "land") | {"fg_source": "photo", "bg_source": "photo"}
    lent = example("new-b", "val", "dog", "land") | {"bg_source": "photo"}
    expected = "no cut-out or photo is in two of training, validation and test"
    assert failing(checked(added(recipes, natural), sources)) == {}
    assert failing(checked(added(recipes, natural, lent), sources))[expected] == ["new-a", "new-b"]


def test_a_scene_pixel_in_two_parts_fails(recipes, sources):
    recipes.loc[recipes["example_id"] == "train-bird-water-1", "crop_x"] = 1  # now ends at 41, one column into val
    expected = ["train-bird-water-1", *ids(recipes, part="val", background="water")]
    assert failing(checked(recipes, sources)) == {
        "no pixel of a scene is in two of training, validation and test": sorted(expected)
    }


def test_a_missing_part_fails(recipes, sources):
    without = recipes[recipes["part"] != "train"]
    assert failing(checked(without, sources)) == {"there are train, val, test": []}


def test_a_correlation_other_than_declared_fails(recipes, sources):
    assert failing(checked(recipes, sources, correlation=0.875)) == {}  # within one example of eight
    expected = "0.95 of train has the background its label goes with"
    assert failing(checked(recipes, sources, correlation=0.95)) == {expected: ["train"]}


def test_a_shortcut_outside_of_train_fails(recipes, sources):
    row = recipes["example_id"] == "train_unbiased-bird-land-0"
    recipes.loc[row, ["background", "bg_source", "group"]] = ["water", "lake", "bird on water"]
    expected = {"outside of train, label and background are independent": ["train_unbiased"]}
    assert failing(checked(recipes, sources)) == expected


def test_an_unknown_association_is_not_taken_for_none(recipes, sources):
    one_label = recipes[~((recipes["part"] == "train_unbiased") & (recipes["label"] == "dog"))]
    expected = {"no value that is checked is missing, for each part": ["train_unbiased"]}
    assert failing(checked(one_label, sources)) == expected


def test_an_empty_group_fails(recipes, sources):
    without = recipes[~((recipes["part"] == "val") & (recipes["group"] == "bird on land"))]
    assert failing(checked(without, sources)) == {
        "validation and test have every group": ["val: bird on land"],
        "outside of train, label and background are independent": ["val"],
    }


def test_unequal_groups_fail(recipes, sources):
    more = [example(f"new-{n}-{place}", "test", "dog", place) for n, place in product(range(2), ("water", "land"))]
    assert failing(checked(added(recipes, *more), sources)) == {
        "validation and test groups are equal within one example": ["test: dog on land", "test: dog on water"]
    }


def test_phi_is_that_of_the_two_by_two_table():
    label, background = pd.Series([*"aaaabbbb"]), pd.Series([*"xxxyxyyy"])
    assert phi(label, background) == pytest.approx((3 * 3 - 1 * 1) / 16)
    assert np.isnan(phi(label, pd.Series([*"xxxxxxxx"])))


def test_overlap_agrees_with_painting_every_pixel():
    rng = np.random.default_rng(0)
    boxes, others = (np.hstack([corner, corner + side]) for corner, side in
                     ((rng.integers(0, 30, (40, 2)), rng.integers(1, 6, (40, 1))) for _ in range(2)))  # fmt: skip
    painted = np.zeros((40, 40), bool)
    for left, top, right, bottom in others:
        painted[top:bottom, left:right] = True
    expected = [painted[top:bottom, left:right].any() for left, top, right, bottom in boxes]
    assert 5 < sum(expected) < 35
    assert overlap(boxes, others).tolist() == expected


# The verdict.


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
