"""Variants: four hand-made recipes, two labels on two backgrounds, and what each variant must make of them."""

import pandas as pd
import pytest

from fieldmark import variants
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import CORRUPTIONS, DROPS, RECIPE, REGION_NOISE, conform

PAIRS = {"bird": "water", "mammal": "land"}
PLAIN = {
    "part": "test", "crop_x": 0, "crop_y": 0, "crop_side": 9, "fg_x": 0.3, "fg_y": 0.5, "fg_scale": 0.6,
    "fg_angle": 5.0, "fg_flip": False, "erase": "", "occluder_x": 0.5, "occluder_y": 0.5, "occluder_side": 0.0,
    "corruption": "", "keep": "", "masked": False, "seed": 7,
}  # fmt: skip
FIXED = ["original", "only_fg", "no_fg", "only_bg_box", "only_bg_tiled", "mixed_same", "mixed_rand", "mixed_next"]
PARAMETRIC = [
    *("on_object:0.25", "off_object:0.25", "background:1", "background:2", "background:9"),
    *(f"{name}:0.5" for name in (*DROPS, *REGION_NOISE)),
    *(f"{family}:3" for family in CORRUPTIONS),
]


def recipes_of(*rows):
    """Recipes from (example_id, label, background, scene)."""
    columns = ("example_id", "label", "background", "bg_source")
    table = pd.DataFrame([dict(zip(columns, row, strict=True)) | PLAIN for row in rows])
    table = table.assign(group=table["label"] + " on " + table["background"], fg_source=table["example_id"] + "-object")
    return conform(table.assign(crop_x=range(len(table))), RECIPE)


FOUR = recipes_of(
    ("a", "bird", "water", "water-a"),
    ("b", "bird", "land", "land-b"),
    ("c", "mammal", "land", "land-c"),
    ("d", "mammal", "water", "water-d"),
)


def apply(name, recipes=FOUR, seed=0):
    return variants.apply(name, recipes, pairs=PAIRS, seed=seed)


def scenes(recipes):
    return dict(zip(recipes["example_id"], recipes["bg_source"], strict=True))


def changed(name):
    return {column for column in RECIPE if not apply(name)[column].equals(FOUR[column])}


def test_the_simple_ones_change_one_column():
    assert changed("original") == set()
    assert changed("only_fg") == {"masked"} and apply("only_fg")["masked"].all()
    for name, erase in {"no_fg": "object", "only_bg_box": "box", "only_bg_tiled": "tile"}.items():
        assert changed(name) == {"erase"} and set(apply(name)["erase"]) == {erase}
    assert changed("gaussian_noise:3") == {"corruption"} and set(apply("gaussian_noise:3")["corruption"]) == {
        "gaussian_noise:3"
    }
    assert variants.masked(FOUR).equals(apply("only_fg"))


def test_mixed_same_borrows_what_goes_with_the_label_from_another_example():
    for seed in range(8):
        found = scenes(apply("mixed_same", seed=seed))
        assert found["a"] == "water-d"  # the only other water
        assert found["c"] == "land-b"
        assert found["b"] in {"water-a", "water-d"} and found["d"] in {"land-b", "land-c"}
    assert apply("mixed_same")["group"].tolist() == ["bird on water"] * 2 + ["mammal on land"] * 2
    assert changed("mixed_same") <= {"bg_source", "crop_x", "crop_y", "crop_side", "background", "group"}


MANY = pd.concat(
    [recipes_of(*((f"{kind}{n}", ("bird", "mammal")[n % 2], kind, f"{kind}-{n}") for n in range(9))) for kind in
     ("water", "land")], ignore_index=True,
)  # fmt: skip


def test_counterfactual_backgrounds_take_turns_and_repeat_none_before_all_were_lent():
    found = [apply(f"background:{number}", MANY) for number in range(1, 21)]
    for row, own in enumerate(MANY["bg_source"]):
        sequence = [table["bg_source"][row] for table in found]
        kinds = [table["background"][row] for table in found]
        assert own not in sequence
        assert all(one != other for one, other in zip(kinds, kinds[1:], strict=False))  # so any even number is balanced
        assert len(set(sequence[:16])) == 16  # of its own kind 8 others lend, of the other kind 9
        assert len(set(sequence)) == 17
    starts = [table["background"][row] for table in found[:1] for row in range(len(MANY))]
    assert 4 < starts.count("water") < 14  # drawn for each example


def test_counterfactual_backgrounds_spread_over_the_lenders():
    sequences = {tuple(apply(f"background:{number}", MANY)["bg_source"]) for number in range(1, 9)}
    assert len(sequences) == 8
    assert not apply("background:1", MANY, seed=1)["bg_source"].equals(apply("background:1", MANY)["bg_source"])


def test_the_crop_comes_with_its_scene():
    crops = dict(zip(FOUR["bg_source"], FOUR["crop_x"], strict=True))
    mixed = apply("mixed_same")
    assert mixed["crop_x"].tolist() == [crops[scene] for scene in mixed["bg_source"]]


def test_mixed_next_borrows_what_goes_with_the_next_label():
    for seed in range(8):
        found = scenes(apply("mixed_next", seed=seed))
        assert found["b"] == "land-c" and found["d"] == "water-a"
        assert found["a"] in {"land-b", "land-c"} and found["c"] in {"water-a", "water-d"}


def test_mixed_rand_draws_kinds_evenly_and_never_borrows_from_itself():
    drawn = [apply("mixed_rand", seed=seed) for seed in range(100)]
    assert all(scenes(table)[name] != scenes(FOUR)[name] for table in drawn for name in "abcd")
    water = sum((table["background"] == "water").sum() for table in drawn)
    assert 150 < water < 250  # 400 fair draws: mean 200, standard deviation 10


def test_backgrounds_stay_in_their_part():
    two = pd.concat(
        [FOUR, FOUR.assign(part="val", example_id="v" + FOUR["example_id"], bg_source="v" + FOUR["bg_source"])]
    )
    for name in ("mixed_same", "mixed_rand", "mixed_next", "background:1", "background:4"):
        mixed = apply(name, two)
        assert (mixed["bg_source"].str.startswith("v") == (mixed["part"] == "val")).all()
        pd.testing.assert_frame_equal(mixed.iloc[:4], apply(name))  # what another part holds does not matter


@pytest.mark.parametrize("name", FIXED + PARAMETRIC)
def test_every_variant_keeps_ids_and_labels_whatever_the_order(name):
    before = FOUR.copy()
    backwards = FOUR.iloc[::-1]
    pd.testing.assert_frame_equal(apply(name, backwards).sort_index(), apply(name))
    pd.testing.assert_frame_equal(FOUR, before)
    for column in ("example_id", "part", "label", "fg_source", "seed"):
        assert apply(name)[column].equals(FOUR[column])
    pd.testing.assert_frame_equal(apply(name), conform(apply(name), RECIPE))


def test_occluders_are_equal_squares_on_and_off_the_object():
    on, off = apply("on_object:0.25"), apply("off_object:0.25")
    assert on["occluder_side"].tolist() == pytest.approx([0.3] * 4)  # a quarter of a square of side 0.6
    assert (on[["occluder_x", "occluder_y"]].to_numpy() == [0.3, 0.5]).all()
    assert off["occluder_side"].equals(on["occluder_side"])
    assert off.loc[0, ["occluder_x", "occluder_y"]].tolist() == pytest.approx([0.85, 0.15])


def test_names_lists_them_all():
    assert variants.names() == [
        *FIXED, "background:<number>", "on_object:<area>", "off_object:<area>", *(f"{name}:<share>" for name in DROPS),
        *(f"{name}:<sigma>" for name in REGION_NOISE), *(f"{family}:<1-5>" for family in CORRUPTIONS)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mixed", "there is no variant 'mixed': use one of original"),
        ("gaussian_noise", "there is no variant"),
        ("gaussian_noise:6", "a severity of 1 to 5"),
        ("background:0", "there is no variant 'background:0'"),
        ("background:x", "there is no variant 'background:x'"),
        ("drop_object:0", r"'drop_object:0' needs a share of the patches in \(0, 1\]"),
        ("drop_random:1.5", "a share of the patches"),
        ("noise_object:-1", "a strength above 0"),
        ("noise_object:loud", "a strength above 0"),
        ("on_object:2", r"an area in \(0, 1\]"),
        ("on_object:big", r"an area in \(0, 1\]"),
    ],
)
def test_wrong_names_are_said(name, sentence):
    with pytest.raises(FieldmarkError, match=sentence):
        apply(name)


def test_nothing_to_borrow_is_said():
    with pytest.raises(FieldmarkError, match="no other example of part 'test' on 'water'"):
        apply("mixed_same", FOUR.iloc[:1])
    with pytest.raises(FieldmarkError, match="which background 'bird' goes with"):
        variants.apply("mixed_same", FOUR, pairs={"mammal": "land"}, seed=0)
