"""From recipe to pixels."""

import numpy as np
import pytest
from fish import (
    BLUE,
    BOX,
    HALVES,
    MIDDLE,
    NOISE,
    RED,
    SIZE,
    WHITE,
    YELLOW,
    draw,
    fish_on,
    kept,
    only,
    painted,
    recipes_of,
)

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import CORRUPTIONS, CORRUPTIONS_VERSION
from fieldmark.loading import augment
from fieldmark.loading.corruptions import TABLE
from fieldmark.loading.keys import render_keys
from fieldmark.loading.painting import GREY
from fieldmark.loading.sources import Sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("raw"))


def test_object_is_trimmed_scaled_and_put_in_its_place(sources):
    image, mask = draw(sources, **MIDDLE)
    assert (image == fish_on(HALVES)).all()
    assert (mask == only(BOX)).all()
    assert image.dtype == mask.dtype == np.uint8


def test_object_moves_and_is_mirrored(sources):
    assert (draw(sources, **MIDDLE, fg_flip=True).image_HW3 == fish_on(HALVES, YELLOW, RED)).all()
    assert (draw(sources, fg_x=0.75, fg_y=0.25).mask_HW == only(np.s_[1:3, 4:8])).all()


def test_object_turns_counter_clockwise(sources):
    image, mask = draw(sources, fg_angle=90.0)
    assert (mask == only(np.s_[2:6, 3:5])).all()
    assert (image[2:4, 3:5] == YELLOW).all() and (image[4:6, 3:5] == RED).all()  # what was left is below


@pytest.mark.parametrize(
    "geometry", [{"fg_scale": 0.33}, {"fg_scale": 0.8, "fg_angle": 13.0}, {"fg_x": 0.44, "fg_flip": True}]
)
def test_colours_of_invisible_pixels_never_bleed(sources, geometry):
    assert draw(sources, 40, bg_source="lava", **geometry).image_HW3[..., 2].max() == 0  # magenta would bring blue


@pytest.mark.parametrize(
    ("erase", "expected"),
    [("object", 0), ("box", 0), ("tile", BLUE)],  # the tile starts with the strip's left end, which is blue
)
def test_erased_object_leaves_no_pixel(sources, erase, expected):
    image, mask = draw(sources, **MIDDLE, erase=erase)
    scene = HALVES.copy()
    scene[BOX] = expected
    assert (image == scene).all()
    assert not mask.any()


def test_box_is_larger_than_the_silhouette_when_turned(sources):
    black = {
        erase: (draw(sources, 40, fg_angle=30.0, erase=erase).image_HW3 == 0).all(2) for erase in ("object", "box")
    }
    assert (black["box"] >= black["object"]).all() and black["box"].sum() > 1.3 * black["object"].sum()


def test_occluder_hides_the_object_from_the_mask(sources):
    image, mask = draw(sources, occluder_side=0.25)
    expected = only(BOX)
    expected[3:5, 3:5] = 0
    assert (image[3:5, 3:5] == GREY).all() and (image[3:5, 2] == RED).all()
    assert (mask == expected).all()


def test_masked_keeps_the_visible_object_alone(sources):
    image, mask = draw(sources, masked=True)
    assert (image == fish_on(np.zeros_like(image))).all() and (mask == only(BOX)).all()
    assert (draw(sources, masked=True, occluder_side=0.25).image_HW3[3:5, 3:5] == 0).all()
    assert not draw(sources, masked=True, erase="box").image_HW3.any()


def test_photo_in_its_place_gives_its_crop_and_mask(sources):
    image, mask = draw(sources, fg_source="photo", bg_source="photo", crop_x=2)
    assert (mask == only(np.s_[2:6, 2:6])).all()
    assert (image == np.where(mask[..., None] > 0, WHITE, BLUE)).all()


def test_photo_keeps_its_place_on_a_scene_and_lends_its_background_alone(sources):
    whole = {"fg_source": "photo", "fg_scale": 1.0}
    image, mask = draw(sources, **whole, bg_source="lava")
    assert (mask == only(np.s_[2:6, 2:6])).all()
    assert (image == np.where(mask[..., None] > 0, WHITE, RED)).all()
    assert (draw(sources, bg_source="photo", crop_x=2).image_HW3 == fish_on(painted(8, 8, BLUE))).all()


def test_noise_follows_the_seed_and_its_severity(sources):
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = augment.corrupt(grey, "gaussian_noise:1", 5)
    assert (noisy == augment.corrupt(grey, "gaussian_noise:1", 5)).all()
    assert (noisy != augment.corrupt(grey, "gaussian_noise:1", 6)).any()
    assert noisy.std() == pytest.approx(0.08 * 255 - 0.4, rel=0.005)  # cut to whole levels, towards zero: 0.5 E|z| less
    assert (augment.corrupt(grey, "gaussian_blur:5", 0) == grey).all()
    plain, corrupted = draw(sources), draw(sources, corruption="gaussian_noise:3")
    assert (plain.mask_HW == corrupted.mask_HW).all() and (plain.image_HW3 != corrupted.image_HW3).any()


@pytest.mark.parametrize("family", CORRUPTIONS)
def test_every_family_hurts_more_with_severity(family):
    y, x = np.mgrid[:80, :80]
    image = np.stack([128 + 90 * np.sin(x / 2 + y / turn) for turn in (3, 5, 7)], 2).astype(np.uint8)
    harm = [np.abs(augment.corrupt(image, f"{family}:{s}", 0).astype(int) - image).mean() for s in range(1, 6)]
    assert harm == sorted(harm) and harm[0] > 0
    assert (augment.corrupt(image, f"{family}:3", 7) == augment.corrupt(image, f"{family}:3", 7)).all()


def test_the_table_of_corruptions_is_the_one_its_version_names():
    assert tuple(TABLE) == CORRUPTIONS
    pinned = {1: "4c64bb925cc53b3a1eec9bfe395d76d19674552c93e1e8ce1c78addeba120697"}  # a change needs a new version
    assert augment.corruptions_sha256() == pinned[CORRUPTIONS_VERSION]


def test_known_corruptions_of_a_grey_picture():
    grey = np.full((50, 50, 3), 100, np.uint8)
    assert (augment.corrupt(grey, "brightness:2", 0) == 100 + 51).all()  # a fifth of 255
    assert (augment.corrupt(grey, "contrast:1", 0) == 100).all()
    speckled = augment.corrupt(grey, "impulse_noise:3", 0)
    assert set(np.unique(speckled)) == {0, 100, 255}
    assert (speckled != 100).any(2).mean() == pytest.approx(0.09, abs=0.005)
    halves = np.repeat([np.full(50, 60), np.full(50, 140)], 25, 0)[..., None].repeat(3, 2).astype(np.uint8)
    assert set(np.unique(augment.corrupt(halves, "contrast:3", 0))) == {
        92,
        108,
    }  # a fifth of 40 about their mean of 100


def test_a_new_version_of_the_table_gives_new_names_to_what_it_corrupts(sources, monkeypatch):
    recipes = recipes_of({}, NOISE)
    plain, corrupted = render_keys(recipes, sources.index, SIZE)
    monkeypatch.setattr("fieldmark.loading.keys.CORRUPTIONS_VERSION", 2)
    again = render_keys(recipes, sources.index, SIZE)
    assert again[0] == plain and again[1] != corrupted


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"corruption": "hail:3"}, "no corruption is called 'hail:3'"),
        ({"corruption": "fog:6"}, "no corruption is called 'fog:6'"),
        ({"crop_x": 17}, "leaves its scene 'sea'"),
        ({"crop_y": -1}, "leaves its scene 'sea'"),
        ({"bg_source": "moon"}, "the source 'moon', which the index lacks"),
    ],
)
def test_what_cannot_be_rendered_is_said(sources, change, sentence):
    with pytest.raises(FieldmarkError, match=sentence):
        draw(sources, **change)


def test_little_memory_changes_nothing(sources):
    forgetful = Sources(sources.root, sources.index, memory=1)
    assert (draw(forgetful).image_HW3 == draw(sources).image_HW3).all()
