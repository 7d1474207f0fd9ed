"""Plots, curves, strips and sheets show what they are told, and say it in words too."""

import base64
import io
import math
import re
import warnings
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reported import (
    ORDER,
    UNKNOWN,
    curve,
    known,
    lines,
    picture,
    row,
    rows,
    strip,
    trained,
)

from fieldmark.core.errors import FieldmarkError
from fieldmark.pictures import overlay_files, read_image, read_mask
from fieldmark.report import about, curves, plots, strips
from fieldmark.report.about import About
from fieldmark.report.dots import dots
from fieldmark.report.pictures import Picture, dimmed, sheet, weights


def test_sheet_breaks_into_rows_with_mistakes_first(tmp_path):
    black, white = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    right = Picture("erm", white, np.ones((1, 1)), "bird", "land", "bird", 0.9)
    wrong = right._replace(image_HW3=black, predicted="land mammal")
    with Image.open(sheet(tmp_path / "sheet.png", [right, right, wrong], columns=2)) as page_of_three:
        assert page_of_three.size == (320, 2 * 346)
        assert page_of_three.getpixel((80, 100)) == (0, 0, 0)
        assert page_of_three.getpixel((80, 346 + 100)) == (255, 255, 255)


def test_a_mask_is_a_dot_for_each_token_relative_to_its_largest_weight():
    shown = picture("erm", 0)._replace(mask_hw=np.array([[0.2, 0.1], [0.0, 0.05]]))
    encoded = weights(shown).removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as found:
        assert np.asarray(found).tolist() == [[255, 128], [0, 64]]


def test_labels_do_not_overlap():
    labels = plots.spread([0.90, 0.91, 0.70, 0.905], gap=0.05)
    assert np.diff(np.sort(labels)).min() > 0.05 - 1e-12
    assert labels[2] == 0.70  # nobody near: it stays
    assert labels[[0, 3, 1]] == pytest.approx([0.855, 0.905, 0.955])  # in their order, around their mean


def test_plots_say_their_numbers_and_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {drawing.name: drawing for drawing in plots.drawings(rows(), ORDER, trained())}
    assert list(drawn) == ["average-worst", "gap", "variants", "masks", "deletion", "training"]
    assert "oracle_mask, share: 1.000 [0.800, 1.200]; erm_unbiased" in drawn["gap"].alt, "the most at the top"
    assert "erm: average 0.892 [0.862, 0.922], worst group 0.721 [0.661, 0.781]" in drawn["average-worst"].alt
    for model in ORDER:
        assert all(f">{model}<" in drawing.svg for drawing in drawn.values())


def test_interval_that_is_unknown_is_drawn_without_bars():
    bare = [row("erm", metric, 0.8, low=None, high=None) for metric in ("average", "worst_group")]
    (drawing,) = plots.drawings(bare, ["erm"], [])
    assert "0.800 [unknown]" in drawing.alt


def ticks(drawn: str) -> set[float]:
    return {float(text.replace("−", "-")) for text in re.findall(r">(−?\d\.\d+)</text>", drawn)}


def test_who_is_far_below_leaves_room_for_the_others():
    near, far = row("erm", "gap_closed", 0.0, half=0.1), row("cheat", "gap_closed", -2.8, half=0.5)
    lines = {"erm": {"share": near}, "cheat": {"share": far}}
    squeezed, roomy = (dots("gap", "", "", "", lines, least=least) for least in (-math.inf, -1.0))
    assert squeezed and roomy
    assert squeezed.alt == roomy.alt and roomy.alt.endswith("cheat, share: -2.800 [-3.300, -2.300]")
    assert "← -2.800 [-3.300, -2.300]" in roomy.svg and "←" not in squeezed.svg
    assert min(ticks(squeezed.svg)) == -3 and min(ticks(roomy.svg)) == -0.1


def test_dimming_follows_the_tokens():
    image = np.full((4, 4, 3), 200, np.uint8)
    bright = dimmed(image, np.array([[0.2, 0.1], [0.0, 0.2]]))[..., 0]
    assert bright[:2, :2].tolist() == [[200, 200]] * 2
    assert bright[0, 2] == round(200 * (0.12 + 0.88 / 2))
    assert bright[2, 0] == 24
    assert (dimmed(image, np.full((2, 2), 0.3)) == image).all()
    assert (dimmed(image, np.zeros((2, 2))) == 24).all()


def test_a_curve_is_drawn_whatever_it_measures_and_other_scores_are_not():
    seeds = [curve("eps", (8, 1), [0.2, 0.8]), curve("eps", (8, 1), [0.4, UNKNOWN])]
    (line,) = curves.lines("erm", "robust_pgd", seeds)
    assert (line.name, line.x, line.mean, line.low, line.high) == (
        "eps", [1, 8], [0.8, pytest.approx(0.3)], [0.8, 0.2], [0.8, 0.4],
    )  # fmt: skip
    assert [line.name for line in curves.lines("erm", "deletion_own", [curve("", (0, 0.5, 1), [1, 0.5, 0])])] == [""]
    for name, numbers in (("background", range(4)), ("only", (3,)), ("bird on land at", ("sea", "dawn"))):
        assert curves.lines("erm", "flip_rate", [curve(name, numbers, [0.5] * len(numbers))]) == []
    worst = curve("eps", (1, 2), [0.5, 0.6])._replace(combine="worst")
    assert curves.lines("erm", "worst_group", [worst]) == []


def test_curves_of_a_kind_share_a_drawing_that_says_where_they_start_and_end():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = {one.name: one for one in plots.drawings(rows(), ORDER, [], known(), lines(ORDER))}
    made = [name for name in drawn if name.startswith("curve")]
    assert made == ["curve-occlusion", "curve-corruption", "curve-robust", "curve-deletion"]
    assert "accuracy under attack, PGD, erm: 0.892 at 1, 0.112 at 8" in drawn["curve-robust"].alt
    assert drawn["curve-occlusion"].alt.count("erm:") == 3
    assert not plots.drawings([], ["erm"], [], None, curves.lines("erm", "new_one", [curve("", (0, 1), [UNKNOWN] * 2)]))


def test_the_two_ends_stand_in_every_plot_of_models():
    words = {word: About(about.ONE_STAGE, "none") for word in [f"word_{n}" for n in range(20)]}
    told = {"erm": About(about.BASELINES, "none"), **words}
    ends = {"oracle_mask": about.TOP, "background_only": about.BOTTOM}
    told |= {word: About(about.CONTROLS, "none", end=end) for word, end in ends.items()}
    shown = about.panels(list(told), told)
    assert [(heading, number) for heading, number, _ in shown][1:4] == [(about.ONE_STAGE, n) for n in range(3)]
    assert all(models[0] == "erm" and models[-2:] == list(ends) for _, _, models in shown)
    assert all(len(models) <= about.FEW + 3 for _, _, models in shown)
    assert {model for _, _, models in shown for model in models} == set(told)


def test_strips_show_the_objects_whose_answer_the_background_changes_one_of_each_label_first():
    answers = {  # what two models say of each example: as it is, and on three other backgrounds
        "steady": ["bird", "bird", "bird", "bird"],
        "torn": ["bird", "land mammal", "land mammal", "bird"],
        "again": ["bird", "land mammal", "land mammal", "bird"],  # the same object as torn
        "blind": ["bird", "bird", "bird", "land mammal"],  # where the object is gone: does not count
        "mammal": ["land mammal", "land mammal", "bird", "land mammal"],
    }
    variants = ["original", "mixed_rand", "mixed_next", "no_fg"]
    said = pd.DataFrame(
        [
            {"model": model, "example_id": one, "variant": variant, "predicted": answer}
            | {"label": "land mammal" if one == "mammal" else "bird"}
            for model in ("erm", "ersm")
            for one, row in answers.items()
            for variant, answer in zip(variants, row, strict=True)
        ]
    )
    objects = pd.Series({one: "torn" if one == "again" else one for one in answers})
    assert strips.choose(said, objects, 4) == ["again", "mammal", "blind", "steady"]
    assert strips.choose(said.sample(frac=1, random_state=0), objects, 4) == ["again", "mammal", "blind", "steady"]


def test_a_strip_says_what_is_held_and_is_a_picture_of_its_own():
    shown = strip(ORDER)
    assert [shown.held(model) for model in ("erm", "inverted_mask")] == ["4 of 4", "1 of 4"]
    ((name, svg),) = strips.files([shown])
    assert name == "strip-0-test-00000"
    root = ElementTree.fromstring(svg)
    images = [one for one in root if one.tag.endswith("image")]
    assert len(images) == 8
    assert all(one.get("href").startswith("data:image/webp") for one in images)
    said = [one.text for one in root if one.tag.endswith("text")]
    assert said.count("✗ land mammal 0.70") == 2 * 3
    assert said.count("○ bird 0.90") == 3 * len(ORDER)
    assert strips.files([shown]) == [(name, svg)]


def test_overlays_never_replace_the_pictures_they_are_made_of(tmp_path):
    own = tmp_path / "duck.png"
    own.write_bytes(b"a picture")
    with pytest.raises(FieldmarkError, match="would replace .*duck.png: name another folder"):
        overlay_files(tmp_path, [own])
    with pytest.raises(FieldmarkError, match="duck.png can't be made"):
        overlay_files(own, [own])
    assert overlay_files(tmp_path / "seen", [own, tmp_path / "b" / "duck.jpg"]) == [
        tmp_path / "seen" / "duck.png", tmp_path / "seen" / "duck-2.png",
    ]  # fmt: skip


def test_a_picture_of_more_than_eight_bits_is_refused_not_cut_off(tmp_path):
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(tmp_path / "deep.png")
    for read in (read_image, read_mask):
        with pytest.raises(FieldmarkError, match="deep.png has more than 8 bits"):
            read(tmp_path / "deep.png")
