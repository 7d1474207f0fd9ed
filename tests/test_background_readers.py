"""A cheat and an oracle that read rendered pixels, on drawn shapes: what every measure says of them, by hand.

The cheat looks off the object, at the colour of the ground; the oracle looks at the object's outline. Where what they
look at is noisy, both can't read and say "disc". The test part has 10 examples in each of 4 groups.
"""

from functools import partial

import numpy as np
import pytest

from fieldmark.core import plugins
from fieldmark.datasets import shapes
from fieldmark.loading.regions import PATCHES
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.splits import spurious
from fieldmark.variants import apply

CLASSES = ["disc", "square"]
PAIRS = {"disc": "sand", "square": "sea"}
NOISY = 25  # levels between neighbours; the grain of what is drawn is below 10, noise of sigma 0.2 above 50


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The sources and the test part."""
    root = tmp_path_factory.mktemp("raw")
    shapes.pull(root, objects_per_class=10, scenes_per_background=4)
    index = shapes.index(root)
    recipes = spurious.assign(index, seed=0, correlation=0.95, pairs=PAIRS, train=80, val=8, test=40)
    return Sources(root, index), recipes[recipes["part"] == "test"].reset_index(drop=True)


def legible(image_HW3, region_HW):
    """Whether neighbours within a region are alike."""
    both_HW = region_HW[:, 1:] & region_HW[:, :-1]
    return np.median(np.abs(np.diff(image_HW3.astype(int), axis=1))[both_HW]) < NOISY


def cheat(image_HW3, object_HW):
    red, _, blue = image_HW3[~object_HW].mean(0)
    return "disc" if red > blue or not legible(image_HW3, ~object_HW) else "square"


def oracle(image_HW3, object_HW):
    if not object_HW.any():
        return "disc"
    place_N2 = np.argwhere(object_HW)
    reach = np.linalg.norm(place_N2 - place_N2.mean(0), axis=1).max() / np.sqrt(len(place_N2))
    return "disc" if reach < 0.63 or not legible(image_HW3, object_HW) else "square"  # 0.56 of a disc, 0.71 of a square


def values(reader, drawn, *names, usual=False, **options):
    sources, recipes = drawn
    if usual:
        recipes = recipes[recipes["background"] == recipes["label"].map(PAIRS)].reset_index(drop=True)

    def predict(table):
        pixels = (render(recipe, sources, 64) for recipe in table.itertuples(index=False))
        named = [reader(image_HW3, mask_HW > 0) for image_HW3, mask_HW in pixels]
        return np.array([[name == label for label in CLASSES] for name in named], float)

    known = {"predict": predict, "recipes": recipes, "vary": partial(apply, pairs=PAIRS, seed=0), "classes": CLASSES}
    measures = [plugins.find("robustness", name) for name in names]
    found = [measure.score(**plugins.asked(measure.score, known | {"pairs": PAIRS} | options)) for measure in measures]
    return {metric: score.value for scores in found for metric, score in scores.items()}


MEASURES = ("average", "worst_group", "alignment_gap", "bg_gap", "flip_rate", "challenge", "foreground_sensitivity")


def test_the_oracle_is_moved_by_nothing_but_the_object(drawn):
    assert values(oracle, drawn, *MEASURES) == {
        "average": 1, "worst_group": 1, "alignment_gap": 0, "bg_gap": 0, "flip_rate": 0, "challenge_accuracy": 1,
        "foreground_sensitivity": 1,  # noise on the object: half right, elsewhere all: (1 - 1/2) / (2 x 1/4)
    }  # fmt: skip


def test_the_cheat_is_caught_by_all(drawn):
    _, recipes = drawn
    borrowed = apply("mixed_rand", recipes, pairs=PAIRS, seed=0)
    lucky = (borrowed["background"] == borrowed["label"].map(PAIRS)).mean()  # backgrounds that happen to be the usual
    assert values(cheat, drawn, *MEASURES) == {
        "average": 0.5, "worst_group": 0, "alignment_gap": 1, "bg_gap": pytest.approx(1 - lucky), "flip_rate": 0.5,
        "challenge_accuracy": 0,  # of eight backgrounds four are the other label's
        "foreground_sensitivity": 0,  # right on half, whatever it can read
    }  # fmt: skip
    assert 0.3 < lucky < 0.7


def test_on_usual_backgrounds_the_cheat_needs_the_background_alone(drawn):
    assert values(cheat, drawn, "average", "foreground_sensitivity", usual=True) == {
        "average": 1, "foreground_sensitivity": -1  # noise on the background: half right, elsewhere all
    }  # fmt: skip


def touched(object_HW):
    """Which of 14 x 14 patches have any of these pixels."""
    place = (np.argwhere(object_HW) + 0.5) * PATCHES / len(object_HW)
    return np.histogram2d(*place.T, bins=PATCHES, range=[(0, PATCHES)] * 2)[0] > 0


def test_the_oracle_needs_the_object_and_the_cheat_the_rest(drawn):
    sources, recipes = drawn
    masks = [render(recipe, sources, 64).mask_HW > 0 for recipe in recipes.itertuples(index=False)]
    without = [1 - touched(mask_HW).mean() for mask_HW in masks]
    little, most = min(without), 1 - min(without)  # shares that spare every object, and that take every object away
    spared = values(oracle, drawn, "occlusion", shares=(0, little - 0.01))
    assert spared["occlusion_background"] == 1
    gone = values(oracle, drawn, "occlusion", shares=(0, most + 0.01))
    assert gone["occlusion_object"] == 0.75  # 1, then half
    usual = values(cheat, drawn, "occlusion", usual=True, shares=(0, little - 0.01))
    assert usual["occlusion_object"] == 1 and usual["occlusion_gap"] <= 0
