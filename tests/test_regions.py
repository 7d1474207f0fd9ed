"""Corruptions that the true mask decides: whole patches that are lost, noise on the object or beside it."""

import numpy as np
import pytest
from fish import draw, kept, recipes_of

from fieldmark.loading.regions import PATCHES, noisy
from fieldmark.loading.render import render
from fieldmark.variants.nearer import zoomed


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("raw"))


PATCH = 2  # px, so that a picture is 14 x 14 patches of 2 x 2
WHOLE = PATCH * PATCHES


def lost_of(sources, corruption, size=WHOLE, **change):
    """A picture of 28 x 28 in which the fish covers 14 x 7 pixels, some patches of it lost; and which pixels were."""
    plain, changed = draw(sources, size, **change), draw(sources, size, corruption=corruption, **change)
    lost_HW = (changed.image_HW3 == 0).all(2) & ~(plain.image_HW3 == 0).all(2)
    assert (changed.image_HW3[~lost_HW] == plain.image_HW3[~lost_HW]).all()
    assert (changed.mask_HW == np.where(lost_HW, 0, plain.mask_HW)).all()  # what is lost is no longer seen
    return lost_HW, plain.mask_HW > 0


def patches(pixels_HW):
    """Which of 14 x 14 patches have any of these pixels."""
    return pixels_HW.reshape(PATCHES, PATCH, PATCHES, PATCH).any((1, 3))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_whole_patches_are_lost_as_many_as_asked_for(sources, share):
    for how in ("random", "object", "background"):
        lost_HW, _ = lost_of(sources, f"drop_{how}:{share}")
        assert patches(lost_HW).sum() == round(share * 196) and lost_HW.sum() == PATCH**2 * patches(lost_HW).sum()


def test_patches_are_lost_on_the_object_first_or_last(sources):
    object_hw = patches(lost_of(sources, "drop_random:0.1")[1])
    share = object_hw.sum() / 196
    assert (patches(lost_of(sources, f"drop_object:{share}")[0]) == object_hw).all()
    assert (patches(lost_of(sources, f"drop_background:{1 - share}")[0]) == ~object_hw).all()
    assert (patches(lost_of(sources, f"drop_object:{share / 2}")[0]) <= object_hw).all()
    assert lost_of(sources, "drop_random:1")[0].all()


def test_what_a_smaller_share_loses_a_larger_one_loses_too(sources):
    for how in ("random", "object", "background"):
        lost = [lost_of(sources, f"drop_{how}:{share}", seed=3)[0] for share in (0.1, 0.4, 0.7)]
        assert (lost[0] <= lost[1]).all() and (lost[1] <= lost[2]).all()
    assert (lost_of(sources, "drop_random:0.4", seed=3)[0] != lost_of(sources, "drop_random:0.4", seed=4)[0]).any()


@pytest.mark.parametrize("natural", [False, True])
def test_a_nearer_look_does_not_see_what_was_lost(sources, natural):
    photo = {"fg_source": "photo", "bg_source": "photo", "crop_x": 2} if natural else {"occluder_side": 0.1}
    for how in ("random", "object", "background"):
        recipes = recipes_of(photo | {"corruption": f"drop_{how}:0.5", "seed": 5})
        (far,) = recipes.itertuples(index=False)
        lost_HW = (render(far, sources, WHOLE).image_HW3 == 0).all(2)
        box = np.array([[0.5, 0.25, 0.5]])  # the middle of the upper half
        once = zoomed(recipes, box)
        twice = zoomed(zoomed(recipes, np.array([[0.5, 0.5, 1.0]])), box)  # by way of the whole picture
        upper = lost_HW[: WHOLE // 2, WHOLE // 4 : -WHOLE // 4].repeat(2, 0).repeat(2, 1)
        for near in (once, twice):
            (recipe,) = near.itertuples(index=False)
            assert ((render(recipe, sources, WHOLE).image_HW3 == 0).all(2) == upper).all()


def test_noise_in_a_region_has_the_same_length_whatever_its_area(sources):
    grey = np.full((40, 40, 3), 128, np.uint8)
    region = np.zeros((40, 40), bool)
    region[:20] = True
    for area in (region, region & region.T, np.ones_like(region)):
        difference = noisy(grey, area, 0.05, 1).astype(float) - 128
        assert not difference[~area].any()
        length = np.sqrt(np.square(difference).sum())
        assert length == pytest.approx(0.05 * 255 * np.sqrt(grey.size), rel=0.002)  # rounded to whole levels
    assert (noisy(grey, region, 0.05, 1) == noisy(grey, region, 0.05, 1)).all()
    assert (noisy(grey, region, 0.05, 1) != noisy(grey, region, 0.05, 2)).any()
    assert (noisy(grey, np.zeros_like(region), 0.05, 1) == grey).all()  # no region, no noise


def test_noise_lies_on_the_visible_object_or_beside_it(sources):
    plain = draw(sources, WHOLE, occluder_side=0.2)
    for where, region in {"object": plain.mask_HW > 0, "background": plain.mask_HW == 0}.items():
        noised = draw(sources, WHOLE, occluder_side=0.2, corruption=f"noise_{where}:0.2")
        changed_HW = (noised.image_HW3 != plain.image_HW3).any(2)
        assert (changed_HW <= region).all() and changed_HW.sum() > 0.9 * region.sum()
        assert (noised.mask_HW == plain.mask_HW).all()
