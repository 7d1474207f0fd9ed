"""Split recipes: what every one must keep, and the exact counts of the spurious one."""

import numpy as np
import pandas as pd
import pytest

from fieldmark.core import plugins, store
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import INDEX, PARTS, RECIPE, conform
from fieldmark.splits import spurious

PAIRS = {"disc": "sand", "square": "sea"}
SIDES = {"train": "train", "train_unbiased": "train", "val": "val", "test": "test"}


def index_of(pairs=PAIRS, cutouts=20, scenes=3):
    """An index of `cutouts` a label and `scenes` a background, each scene of another size."""
    sources = [("cutout", label, "", number, 100, 80) for label in pairs for number in range(cutouts)]
    sources += [
        ("scene", "", kind, number, 300 + 7 * number, 120 + 50 * number)
        for kind in set(pairs.values())
        for number in range(scenes)
    ]
    rows = [
        dict.fromkeys(INDEX, "") | {"offset": 0, "bytes": 1, "mask_offset": 0, "mask_bytes": 0}
        | {"source_id": f"{label or kind}-{number}", "role": role, "label": label, "background": kind}
        | {"width": width, "height": height}
        for role, label, kind, number, width, height in sources
    ]  # fmt: skip
    return conform(pd.DataFrame(rows).sort_values("source_id"), INDEX)


def assign(recipe=spurious, index=None, **changes):
    wanted = {"seed": 0, "correlation": 0.9, "pairs": PAIRS, "train": 80, "val": 40, "test": 60} | changes
    return recipe.assign(index_of() if index is None else index, **wanted)


@pytest.fixture(params=plugins.names("splits"))
def recipe(request):
    return plugins.find("splits", request.param)


def test_recipes_conform_and_ids_are_unique(recipe):
    recipes = assign(recipe)
    pd.testing.assert_frame_equal(recipes, conform(recipes, RECIPE))
    assert recipes["example_id"].is_unique
    assert recipes["part"].value_counts().to_dict() == {"train": 80, "train_unbiased": 80, "val": 40, "test": 60}


def test_no_object_is_in_two_parts(recipe):
    recipes = assign(recipe)
    sides = recipes.groupby("fg_source")["part"].agg(lambda parts: {SIDES[part] for part in parts})
    assert (sides.map(len) == 1).all()


def test_no_scene_pixel_is_in_two_parts(recipe):
    recipes, index = assign(recipe), index_of().set_index("source_id")
    for scene, rows in recipes.groupby("bg_source"):
        painted = {
            side: np.zeros((index.loc[scene, "height"], index.loc[scene, "width"]), bool) for side in SIDES.values()
        }
        for row in rows.itertuples():
            area = painted[SIDES[row.part]][
                row.crop_y : row.crop_y + row.crop_side, row.crop_x : row.crop_x + row.crop_side
            ]
            assert area.shape == (row.crop_side, row.crop_side)  # inside the scene
            area[:] = True
        assert sum(area.astype(int) for area in painted.values()).max() == 1


def test_same_seed_same_bytes_other_seed_other_sources(recipe, tmp_path):
    for name, seed in {"one": 3, "two": 3, "other": 4}.items():
        store.write_table(tmp_path / name, assign(recipe, seed=seed))
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two != other
    tables = [assign(recipe, seed=seed) for seed in (3, 4)]
    trained = [set(table.loc[table["part"] == "train", "fg_source"]) for table in tables]
    assert trained[0] != trained[1]


def test_row_order_does_not_matter(recipe):
    shuffled = index_of().sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(assign(recipe), assign(recipe, index=shuffled))


def test_correlation_is_exact_in_train_and_absent_elsewhere(recipe):
    counts = assign(recipe).groupby(["part", "label", "background"]).size()
    assert counts["train"].to_dict() == {
        ("disc", "sand"): 36, ("disc", "sea"): 4, ("square", "sand"): 4, ("square", "sea"): 36
    }  # fmt: skip
    assert set(counts["train_unbiased"]) == {20}
    assert set(counts["val"]) == {10}
    assert set(counts["test"]) == {15}


def test_three_classes_spread_the_rest_evenly():
    pairs = {"disc": "sand", "square": "sea", "star": "rock"}
    counts = (
        assign(index=index_of(pairs), pairs=pairs, train=180, val=36, test=45)
        .groupby(["part", "label", "background"])
        .size()
    )
    for label, paired in pairs.items():
        assert counts["train"][label].to_dict() == {kind: 54 if kind == paired else 3 for kind in pairs.values()}
    assert set(counts["test"]) == {5}


def test_each_object_and_scene_of_a_group_appears_equally_often():
    recipes = assign()
    for column in ("fg_source", "bg_source"):
        counts = recipes.groupby(["part", "group"])[column].agg(lambda names: np.ptp(names.value_counts().to_numpy()))
        assert counts.max() <= 1
    assert recipes.groupby(["part", "label"])["fg_source"].nunique().unstack(0).loc["disc"].to_dict() == {
        "train": 10, "train_unbiased": 10, "val": 3, "test": 7
    }  # fmt: skip


def test_objects_stay_inside_the_frame():
    recipes = assign()
    turn = np.radians(recipes["fg_angle"].abs())
    half = recipes["fg_scale"] * (np.cos(turn) + np.sin(turn)) / 2
    for centre in (recipes["fg_x"], recipes["fg_y"]):
        assert (centre - half >= 0).all() and (centre + half <= 1).all()
    assert recipes["fg_scale"].between(0.5, 0.75).all() and recipes["fg_angle"].between(-15, 15).all()


def test_the_size_of_one_part_changes_no_other():
    small, large = assign(test=60), assign(test=100)
    for part in PARTS[:3]:
        pd.testing.assert_frame_equal(small[small["part"] == part], large[large["part"] == part])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"correlation": 0.99}, "choose a size at which that is a whole number"),
        ({"val": 42}, "split.val is 42, which 4 groups can't share evenly"),
        ({"train": 81}, "split.train is 81"),
        ({"pairs": PAIRS | {"star": "sea"}, "train": 60, "val": 60}, "label 'star' has 0 cut-outs"),
        ({"pairs": {"disc": "sand"}}, r"no background for the labels \['square'\]"),
        ({"pairs": PAIRS | {"disc": "moon"}}, r"asks for the backgrounds \['moon'\]"),
        ({"index": index_of(cutouts=2)}, "too few for three parts"),
        (
            {"index": index_of({"disc": "sand", "square": "sand"}), "pairs": {"disc": "sand", "square": "sand"}},
            "all scenes",
        ),
        ({"shares": (0.5, 0.5, 0.5)}, "add up to 1"),
        ({"bands": (1.0, 0.0, 0.0)}, "three shares above 0"),
        ({"crop": (0.9, 0.5)}, "least and greatest"),
        ({"scale": (0.5, 0.9)}, "leaves the frame"),
        ({"crop": (0.001, 0.001)}, "too small"),
    ],
)
def test_what_cannot_be_met_is_said(changes, sentence):
    with pytest.raises(FieldmarkError, match=sentence):
        assign(**changes)
