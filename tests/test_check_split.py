"""Each expectation of a split has recipes that fail it and nothing else, by known ids; good ones pass."""

from itertools import product

import good_tables
import numpy as np
import pandas as pd
import pytest
from good_tables import PAIRS, checked, example, failing

from fieldmark.checks.leakage import overlap
from fieldmark.checks.split import phi
from fieldmark.core.tables import RECIPE, conform

sources = pytest.fixture(good_tables.sources)
recipes = pytest.fixture(good_tables.recipes)


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
