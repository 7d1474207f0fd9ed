"""A classifier by itself, from its folder."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import tracked_project as project
from PIL import Image
from torch import nn

from fieldmark import pictures, serve
from fieldmark.backbones import efficientnet_lite0
from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Fill, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json, write_json
from fieldmark.layers.pixels import normalise
from fieldmark.loading.render import render, resize
from fieldmark.loading.sources import Sources, centred_square
from fieldmark.models import ifam, two_stage
from fieldmark.training.checkpoint import write_weights
from fieldmark.training.fit import initialised
from fieldmark.variants.nearer import kept, zoomed

OTHER = "0" * 64  # fingerprint of nothing
SIZE = 64
PLAIN = {
    "example_id": "", "fg_x": 0.5, "fg_y": 0.5, "fg_scale": 1.0, "erase": "", "occluder_x": 0.5, "occluder_y": 0.5,
    "occluder_side": 0.0, "corruption": "", "keep": "", "masked": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.classifier(tmp_path_factory.mktemp("serve") / "erm-0")


def test_a_classifier_answers_for_images_of_any_size(folder: Path) -> None:
    classifier = serve.Classifier.load(folder)
    image_HW3 = project.pictures(1)[0]
    answer = classifier.predict([image_HW3, image_HW3[:, 10:90]])  # the second is the centred square of the first
    assert np.array_equal(answer.probabilities[0], answer.probabilities[1])
    assert np.allclose(answer.probabilities.sum(1), 1)
    assert answer.label[0] == ("disc", "square")[int(answer.probabilities[0].argmax())]
    with pytest.raises(FieldmarkError, match="convert it to RGB"):
        classifier.predict([image_HW3[..., 0]])


def test_a_classifier_refuses_other_weights_and_controls(folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder, tmp_path / "cell")
    config = read_json(folder / "config.json")
    for change, words in (
        (
            {"backbone": {**config["backbone"], "fingerprint": OTHER}},
            "has the weights [0-9a-f]{12}, .*trained on 000000000000",
        ),
        ({"model": "oracle_mask"}, "reads the true mask"),
        ({"classes": ["a", "b", "c"]}, "does not hold the weights"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(FieldmarkError, match=words):
            serve.Classifier.load(folder)


# Less of the picture counts


class Halves(nn.Module):
    """Two parts: the left and the right half of four pixels. Says 1 as surely as what it keeps is bright."""

    def __init__(self, dropped: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.dropped = dropped

    def without(self, *parts: int) -> nn.Module:
        return Halves(parts)

    def forward(self, batch: Batch, forced_Bhw: torch.Tensor | None = None) -> Output:
        mask_Bhw = torch.ones(len(batch.x_BCHW), 1, 2) if forced_Bhw is None else forced_Bhw.clone()
        mask_Bhw[:, :, [*self.dropped]] = 0
        light_B = (batch.x_BCHW.mean((1, 2)) * mask_Bhw[:, 0]).sum(1)
        return Output(torch.stack([-light_B, light_B], 1), mask_Bhw, {})


def halves() -> serve.Classifier:
    backbone = Backbone(nn.Identity(), 3, 1, (0.0,) * 3, (1.0,) * 3, "")
    return serve.Classifier(Halves(), backbone, {"model": "halves", "classes": ["dark", "bright"], "size": 2}, True)


def split(left: int, right: int) -> np.ndarray:
    image_HW3 = np.full((2, 2, 3), left, np.uint8)
    image_HW3[:, 1] = right
    return image_HW3


def bright(light: float) -> float:
    return float(1 / (1 + np.exp(-2 * light)))


def test_a_part_can_be_dropped() -> None:
    classifier, image = halves(), split(51, 255)
    for parts, light, mask in (((), 1.2, [1, 1]), ([1], 0.2, [1, 0]), ([0], 1.0, [0, 1]), ([0, 1], 0.0, [0, 0])):
        answer = classifier.predict([image], drop_parts=parts)
        assert answer.probabilities[0, 1] == pytest.approx(bright(light), abs=1e-6)
        assert answer.mask.tolist() == [[mask]]


def test_a_mask_of_the_picture_replaces_the_models_own() -> None:
    classifier, wide = halves(), np.zeros((2, 6, 3), np.uint8)
    wide[:, 2:4] = split(51, 255)  # the frame; what is beside it is never seen
    keep = np.array([[1, 1, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0]], np.float32)
    for images, mask in (([wide], keep), ([split(51, 255)], keep[:, 2:4]), ([wide], keep[:, 2:4] > 0.5)):
        answer = classifier.predict(images, keep=[mask])
        assert answer.mask.tolist() == [[[0.5, 1.0]]]
        assert answer.probabilities[0, 1] == pytest.approx(bright(0.1 + 1.0), abs=1e-6)
    both = classifier.predict([wide, split(255, 0)], keep=[keep, np.array([[0, 1]] * 2)])
    assert both.mask.tolist() == [[[0.5, 1.0]], [[0.0, 1.0]]]
    with pytest.raises(FieldmarkError, match="not both"):
        classifier.predict([wide], keep=[keep], drop_parts=[0])


def test_a_mask_that_does_not_fit_is_refused() -> None:
    classifier, image = halves(), np.zeros((2, 6, 3), np.uint8)
    for masks, words in (
        ([np.ones((6, 2))], "a mask is 6 x 2 and its image 2 x 6"),
        ([np.ones((2, 6, 3))], "a mask is 2 x 6 x 3"),
        ([np.full((2, 6), 255)], "outside 0"),
        ([np.full((2, 6), np.nan)], "outside 0"),
        ([np.ones((2, 6))] * 2, "2 masks for 1 images"),
    ):
        with pytest.raises(FieldmarkError, match=words):
            classifier.predict([image], keep=masks)


def test_what_ifam_says_without_a_part_it_found(tmp_path: Path) -> None:
    config = read_json(project.classifier(tmp_path / "cell") / "config.json")
    backbone, options = efficientnet_lite0.load(), {"patch": 16, "dim": 24, "depth": 1, "grid": [4, 4], "parts": 3}
    module = initialised(lambda: ifam.build(backbone, 2, **options), 0)
    write_weights(tmp_path / "cell" / "weights.safetensors", module)
    write_json(tmp_path / "cell" / "config.json", {**config, "model": "ifam", "options": options})
    classifier, images = serve.Classifier.load(tmp_path / "cell"), project.pictures(1)
    seen = torch.from_numpy(pictures.frame(images[0], SIZE)[None])
    batch = Batch(normalise(seen, backbone.mean, backbone.std))
    found_hw = module.eval().parts(batch)[0].numpy()
    assert set(np.unique(found_hw)) - {3}, "untrained, it finds some part"
    part = min(set(np.unique(found_hw)) - {3})
    whole, less = classifier.predict(images), classifier.predict(images, drop_parts=[part])
    assert np.array_equal(whole.mask[0], found_hw != 3)
    assert np.array_equal(less.mask[0], (found_hw != 3) & (found_hw != part))
    assert not np.array_equal(whole.probabilities, less.probabilities)
    assert np.array_equal(classifier.predict(images).probabilities, whole.probabilities), "only that answer was without"
    with pytest.raises(FieldmarkError, match="no part 7"):
        classifier.predict(images, drop_parts=[7])


def test_a_model_without_parts_says_so(folder: Path) -> None:
    with pytest.raises(FieldmarkError, match="'erm' has no parts to drop"):
        serve.Classifier.load(folder).predict(project.pictures(1), drop_parts=[0])


def test_all_of_the_picture_kept_is_what_erm_does_anyway(folder: Path) -> None:
    classifier, images = serve.Classifier.load(folder), project.pictures(2)
    own, kept = classifier.predict(images), classifier.predict(images, keep=[np.ones((80, 100))] * 2)
    assert np.array_equal(own.probabilities, kept.probabilities) and np.array_equal(own.mask, kept.mask)


# A second look


BOXES = [[[0.5, 0.5, 1.0], [0.25, 0.5, 0.5]], [[0.7, 0.4, 0.33], [0.5, 0.75, 0.5]]]
KEEP = np.array([[[1, 0], [1, 1]], [[0, 1], [1, 0]]], np.float32)


@pytest.mark.parametrize("fill", ["black", "grey", "blur"])
def test_a_second_look_shows_the_pixels_that_training_shows(fill: Fill, tmp_path: Path) -> None:
    photos = project.pictures(2)
    again = serve.Again([*photos], SIZE, lambda images_NHW3: torch.from_numpy(images_NHW3).permute(0, 3, 1, 2))
    found = again(torch.tensor(BOXES), torch.from_numpy(KEEP), fill)
    assert found.shape == (2, 3, SIZE, 2 * SIZE)
    recipes, sources = as_recipes(photos, tmp_path)
    for n in (0, 1):
        boxes_N3 = torch.tensor(BOXES)[:, n].double().numpy()  # single precision, as models give them
        near = zoomed(kept(recipes, KEEP > 0.5, fill), boxes_N3)
        for place, recipe in enumerate(near.itertuples()):
            shown = found[place, :, :, n * SIZE : (n + 1) * SIZE].permute(1, 2, 0).numpy()
            assert np.array_equal(shown, render(recipe, sources, SIZE).image_HW3)


def as_recipes(photos: np.ndarray, folder: Path) -> tuple[pd.DataFrame, Sources]:
    """Write photos into a dataset of their own, and one recipe for each, framed as a classifier frames it."""
    index, rows = [], []
    for number, photo_HW3 in enumerate(photos):
        name = f"{number}.png"
        Image.fromarray(photo_HW3).save(folder / name)
        place = {"shard": name, "offset": 0, "bytes": (folder / name).stat().st_size}
        index.append({"source_id": name, "role": "photo", **place, **{f"mask_{key}": place[key] for key in place}})
        top, left, side = pictures.middle(*photo_HW3.shape[:2])
        frame = {"crop_x": left, "crop_y": top, "crop_side": side}
        rows.append({"fg_source": name, "bg_source": name, **frame, **PLAIN})
    return pd.DataFrame(rows), Sources(folder, pd.DataFrame(index))


def test_a_crop_never_leaves_the_frame() -> None:
    image_HW3 = project.pictures(1)[0][:5, :5]
    crop_HW3 = pictures.nearer(image_HW3, (0.65, 0.65, 0.7), 4)  # 3.5 px round to 4, from 1.5 to 2: one too far
    assert np.array_equal(crop_HW3, image_HW3[1:, 1:])


def test_detail_that_the_first_look_lost_is_seen_by_the_second() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(pictures.frame(stripes, 16)) == 0  # grey: four stripes a pixel
    assert np.ptp(pictures.nearer(stripes, (0.5, 0.5, 0.25), 16)) == 255


def test_a_model_that_looks_twice_is_served(tmp_path: Path) -> None:
    config = read_json(project.classifier(tmp_path / "cell") / "config.json")
    backbone, options = efficientnet_lite0.load(), {"sides": [1.0, 0.5], "hide": 0.5}
    module = initialised(lambda: two_stage.build(backbone, 2, **options), 0)
    write_weights(tmp_path / "cell" / "weights.safetensors", module)
    write_json(tmp_path / "cell" / "config.json", {**config, "model": "two_stage", "options": options})
    classifier, images = serve.Classifier.load(tmp_path / "cell"), project.pictures(3)
    answer = classifier.predict(images)
    assert answer.mask.shape == (3, 2, 2) and np.allclose(answer.probabilities.sum(1), 1)
    alone = [classifier.predict(image[None]).probabilities[0] for image in images]
    np.testing.assert_allclose(alone, answer.probabilities, atol=1e-4)  # each sees its own picture again
    corner = np.zeros((80, 80), np.float32)
    corner[:40, :40] = 1  # of the square that the model sees
    assert classifier.predict(images, keep=[corner] * 3).mask.tolist() == [[[1.0, 0.0], [0.0, 0.0]]] * 3


# What people see


def test_a_frame_is_the_centred_square_of_training() -> None:
    image_HW3 = project.pictures(1)[0]
    assert np.array_equal(pictures.frame(image_HW3, SIZE), resize(centred_square(image_HW3), SIZE))


def test_an_overlay_is_dark_where_the_model_did_not_look() -> None:
    white_HW3 = np.full((64, 64, 3), 255, np.uint8)
    painted = np.asarray(pictures.overlay(white_HW3, np.array([[1.0, 0.0]], np.float32), size=4))
    assert painted[:, :2].tolist() == np.full((4, 2, 3), 255).tolist()
    assert painted[:, 2:].tolist() == np.full((4, 2, 3), 63).tolist()


def test_every_backbone_names_the_packages_it_needs_in_service() -> None:
    assert sorted(serve.BACKBONE_PACKAGES) == plugins.names("backbones")
    assert all(version(package) for packages in serve.BACKBONE_PACKAGES.values() for package in packages)
