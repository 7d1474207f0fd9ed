"""From recipe to pixels: sources of few colours, so that every expected pixel can be written down."""

import hashlib
import json
import os
import signal
from io import BytesIO
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import CORRUPTIONS, CORRUPTIONS_VERSION, INDEX, RECIPE, conform
from fieldmark.loading import augment, cache
from fieldmark.loading.batches import PixelBatches, tokens
from fieldmark.loading.cache import rendered
from fieldmark.loading.corruptions import TABLE
from fieldmark.loading.keys import keys, render_keys
from fieldmark.loading.painting import GREY
from fieldmark.loading.regions import PATCHES, noisy
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources
from fieldmark.variants.nearer import zoomed

BLUE, GREEN, RED, YELLOW, WHITE = (0, 0, 200), (0, 200, 0), (200, 0, 0), (200, 200, 0), (250, 250, 250)
BOX = np.s_[3:5, 2:6]  # where the plain recipe puts the object, at 8 px
SIZE = 8


def painted(height, width, colour, channels=3):
    return np.full((height, width, channels), (*colour, 255)[:channels], np.uint8)


def pictures():
    """Two scenes of 16 x 32, a cut-out of 2 x 4 in a transparent margin of another colour, a photo of 16 x 20."""
    sea = np.concatenate([painted(16, 16, BLUE), painted(16, 16, GREEN)], axis=1)
    fish = painted(6, 10, (255, 0, 255), 4) * np.array([1, 1, 1, 0], np.uint8)  # invisible magenta
    fish[2:4, 3:5], fish[2:4, 5:7] = (*RED, 255), (*YELLOW, 255)
    photo = painted(16, 20, BLUE)
    photo[4:12, 6:14] = WHITE
    return {"sea": sea, "lava": painted(16, 32, RED), "fish": fish, "photo": photo}


def encoded(pixels):
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """All pictures in one shard, behind eight bytes of something else."""
    root = tmp_path_factory.mktemp("raw")
    shard, rows = b"no image", []
    roles = {"sea": "scene", "lava": "scene", "fish": "cutout", "photo": "photo"}
    for name, pixels in pictures().items():
        image = encoded(pixels)
        rows.append(
            dict.fromkeys(INDEX, "") | {"source_id": name, "role": roles[name], "shard": "all", "offset": len(shard)}
        )
        rows[-1] |= {
            "bytes": len(image),
            "sha256": hashlib.sha256(image).hexdigest(),
            "mask_offset": 0,
            "mask_bytes": 0,
        }
        rows[-1] |= {"height": pixels.shape[0], "width": pixels.shape[1]}
        shard += image
    mask = encoded((pictures()["photo"][..., 0] == WHITE[0]).astype(np.uint8) * 255)
    rows[-1] |= {"mask_shard": "all", "mask_offset": len(shard), "mask_bytes": len(mask)}
    (root / "all").write_bytes(shard + mask)
    return Sources(root, conform(pd.DataFrame(rows), INDEX))


def recipes_of(*changes):
    """Recipes that differ from the plain one: the fish, half a frame long, in the middle of the sea's blue part."""
    plain = {"example_id": "x", "part": "test", "label": "fish", "background": "sea", "group": "fish on sea"}
    plain |= {
        "fg_source": "fish",
        "bg_source": "sea",
        "crop_x": 0,
        "crop_y": 0,
        "crop_side": 16,
        "fg_x": 0.5,
        "fg_y": 0.5,
    }
    plain |= {"fg_scale": 0.5, "fg_angle": 0.0, "fg_flip": False, "erase": "", "occluder_x": 0.5, "occluder_y": 0.5}
    plain |= {"occluder_side": 0.0, "corruption": "", "keep": "", "masked": False, "seed": 0}
    return conform(pd.DataFrame([plain | change for change in changes]), RECIPE)


def draw(sources, size=SIZE, **change):
    (recipe,) = recipes_of(change).itertuples(index=False)
    return render(recipe, sources, size)


def fish_on(scene, left=RED, right=YELLOW):
    image = scene.copy()
    image[3:5, 2:4], image[3:5, 4:6] = left, right
    return image


def only(region):
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[region] = 255
    return mask


HALVES = np.concatenate([painted(8, 4, BLUE), painted(8, 4, GREEN)], axis=1)  # the sea cropped around its middle
MIDDLE = {"crop_x": 8}


# --- render ---------------------------------------------------------------------------------------------------------


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


# --- what the true mask decides ---------------------------------------------------------------------------------------

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


# --- keys -----------------------------------------------------------------------------------------------------------

NOISE = {"corruption": "jpeg:1"}
BLACK = {"masked": True, "erase": "box"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"example_id": "y", "label": "a", "group": "b", "part": "val", "background": "c"}, True),
        ({}, {"seed": 1}, True),
        (NOISE, NOISE | {"seed": 1}, False),
        ({}, {"fg_flip": True}, False),
        ({}, {"fg_x": 0.5000001}, False),
        ({}, {"crop_x": 1}, False),
        ({}, {"occluder_x": 0.9}, True),
        ({}, {"occluder_side": 0.1}, False),
        ({}, {"masked": True}, False),
        ({"corruption": "drop_object:0.25"}, {"corruption": "drop_object:0.5"}, False),
        ({"corruption": "drop_object:0.5"}, {"corruption": "drop_background:0.5"}, False),
        ({"corruption": "noise_object:0.2"}, {"corruption": "noise_background:0.2"}, False),
        ({"corruption": "drop_random:0.5"}, {"corruption": "drop_random:0.5", "seed": 1}, False),
        (
            {"corruption": "drop_object:0.5", "masked": True},
            {"corruption": "drop_object:0.5", "masked": True, "bg_source": "lava"},
            True,
        ),
        ({"masked": True}, {"masked": True, "bg_source": "lava", "crop_x": 3}, True),
        ({"masked": True}, {"masked": True, "fg_angle": 1.0}, False),
        (BLACK, BLACK | {"fg_scale": 0.7, "erase": "tile", "corruption": "jpeg:3"}, True),
        ({"fg_source": "photo", "bg_source": "photo"}, {"fg_source": "photo", "bg_source": "photo", "fg_x": 0.1}, True),
    ],
)
def test_equal_keys_are_equal_pixels(sources, one, other, same):
    first, second = render_keys(recipes_of(one, other), sources.index, SIZE)
    assert (first == second) == same
    if same:
        pixels = [draw(sources, **change) for change in (one, other)]
        assert (pixels[0].image_HW3 == pixels[1].image_HW3).all() and (pixels[0].mask_HW == pixels[1].mask_HW).all()


def test_keys_follow_content_and_size(sources):
    recipes = recipes_of({})
    (key,) = render_keys(recipes, sources.index, SIZE)
    renamed = sources.index.replace({"source_id": {"fish": "trout"}})
    repainted = sources.index.assign(
        sha256=sources.index["sha256"].where(sources.index["source_id"] != "fish", "0" * 64)
    )
    assert render_keys(recipes.assign(fg_source="trout"), renamed, SIZE) == [key]
    assert render_keys(recipes, repainted, SIZE) != [key]
    assert render_keys(recipes, sources.index, 16) != [key]
    with pytest.raises(FieldmarkError, match="a source that the index lacks"):
        render_keys(recipes, renamed, SIZE)


# --- cache ----------------------------------------------------------------------------------------------------------

MANY = recipes_of(*({"crop_x": x, "fg_flip": flip} for x in range(16) for flip in (True, False)), {"seed": 9})


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_distinct_render_is_made_once(sources, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(cache, "render", lambda *arguments: made.append(1) or render(*arguments))
    renders = rendered(MANY, sources, SIZE, tmp_path)
    assert len(MANY) == 33 and len(made) == len(renders.keys_U) == 32  # the last recipe differs in its seed alone
    again = rendered(MANY.iloc[::-1], sources, SIZE, tmp_path)
    assert len(made) == 32 and again.folder == renders.folder
    for row, recipe in enumerate(MANY.itertuples()):
        assert (renders.images_UHW3[renders.rows_N[row]] == render(recipe, sources, SIZE).image_HW3).all()
        assert (again.masks_UHW[again.rows_N[-1 - row]] == render(recipe, sources, SIZE).mask_HW).all()


def test_workers_do_not_change_the_bytes(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CHUNK", 8)  # so that there is work for two
    for workers in (0, 2):
        rendered(MANY, sources, SIZE, tmp_path / str(workers), workers=workers)
    assert files(tmp_path / "0") == files(tmp_path / "2")


def test_a_mistake_in_a_worker_is_said_and_leaves_nothing(sources, tmp_path):
    with pytest.raises(FieldmarkError, match="leaves its scene"):
        rendered(recipes_of({"crop_x": 30}), sources, SIZE, tmp_path, workers=2)
    assert list(tmp_path.iterdir()) == []


def _render_and_be_killed(recipes, root, index, folder):
    def killed_at_the_fifth(recipe, sources, size):
        if recipe.crop_x == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return render(recipe, sources, size)

    cache.render = killed_at_the_fifth
    rendered(recipes, Sources(root, index), SIZE, folder)


def test_killed_half_way_leaves_nothing_usable(sources, tmp_path):
    killed, calm = tmp_path / "killed", tmp_path / "calm"
    process = get_context("spawn").Process(
        target=_render_and_be_killed, args=(MANY, sources.root, sources.index, killed)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert files(killed)  # something was left ...
    rendered(MANY, sources, SIZE, killed)
    rendered(MANY, sources, SIZE, calm)
    assert files(killed) == files(calm)  # ... and neither used nor kept


# --- augmentation and batches ---------------------------------------------------------------------------------------


def test_augmentation_moves_the_mask_with_the_image():
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 5:40] = 255
    for seed in range(5):
        image_HW3, mask_HW = augment.augment(mask[..., None].repeat(3, 2), mask, seed)
        assert ((image_HW3[..., 0] > 127) == (mask_HW > 127)).mean() > 0.97  # bilinear against nearest, at the edge
        assert (augment.augment(mask[..., None].repeat(3, 2), mask, seed)[0] == image_HW3).all()


def test_mirror_and_colour_are_drawn_independently():
    ramp = np.full((32, 32, 3), 100, np.uint8)
    ramp[:, 16:] = 200
    seen = set()
    for seed in range(60):
        image, _ = augment.augment(ramp, ramp[..., 0], seed)
        left, right = image[16, 0].tolist(), image[16, -1].tolist()
        seen.add((left > right, sorted([left, right]) != [[100] * 3, [200] * 3]))
    assert len(seen) == 4  # mirrored or not, recoloured or not


def test_pipeline_sha256_names_the_augmentation():
    assert augment.pipeline_sha256(64) == augment.pipeline_sha256(64) != augment.pipeline_sha256(32)
    described = augment._library().to_dict(augment._training(64))
    assert described["__version__"] and "RandomResizedCrop" in json.dumps(described)


def test_keys_are_int64_and_distinct():
    numbers = keys(f"test-{row:05d}" for row in range(1000))
    assert numbers.dtype == np.int64 and len(set(numbers.tolist())) == 1000 and numbers.min() >= 0


def test_tokens_are_shares_of_object():
    mask = only(np.s_[0:4, 0:2])
    assert tokens(mask[None], stride=4).tolist() == [[[0.5, 0.0], [0.0, 0.0]]]
    with pytest.raises(FieldmarkError, match="not a multiple of the backbone's stride of 3 px"):
        tokens(mask[None], stride=3)


def epoch_of(renders, epoch, **changes):
    """One epoch as {key: (pixels, object share, label, group)}, and the order of keys."""
    count = len(renders.rows_N)
    settings = {"mean": (0.0, 0.5, 0.0), "std": (1.0, 0.5, 1.0), "stride": 4, "batch": 7, "seed": 0, "augmented": True}
    numbers = np.arange(count)
    batches = PixelBatches(renders, numbers % 2, numbers % 4, numbers + 100, **(settings | changes))
    examples = {}
    for batch, labels, groups in batches(epoch):
        for row, key in enumerate(batch.key_B.tolist()):
            values = batch.x_BCHW[row], batch.object_Bhw[row], labels[row], groups[row]
            examples[key] = [value.numpy().tobytes() for value in values]
    return examples, list(examples)


@pytest.fixture(scope="module")
def renders(sources, tmp_path_factory):
    return rendered(MANY, sources, SIZE, tmp_path_factory.mktemp("cache"))


def test_batches_do_not_depend_on_workers_or_batch_size(renders):
    one, order = epoch_of(renders, 1)
    assert sorted(order) == list(range(100, 133))  # each example once
    assert epoch_of(renders, 1, workers=2) == (one, order)
    assert epoch_of(renders, 1, batch=5) == (one, order)


def test_epochs_and_seeds_differ_in_order_and_pixels(renders):
    one, order = epoch_of(renders, 1)
    for other, other_order in (epoch_of(renders, 2), epoch_of(renders, 1, seed=1)):
        assert other_order != order and other != one


def test_batches_are_normalised_and_labelled(renders):
    batches = PixelBatches(
        renders, np.arange(33) % 2, np.arange(33) % 4, np.arange(33), mean=(0.0, 0.5, 0.0), std=(1.0, 0.5, 1.0),
        stride=4, batch=33, seed=0, augmented=False,
    )  # fmt: skip
    ((batch, labels, groups),) = batches(0)
    for row, key in enumerate(batch.key_B.tolist()):
        image = renders.images_UHW3[renders.rows_N[key]].astype(np.float32) / 255
        assert batch.x_BCHW[row, 0].numpy() == pytest.approx(image[..., 0])
        assert batch.x_BCHW[row, 1].numpy() == pytest.approx((image[..., 1] - 0.5) / 0.5, abs=1e-6)
        assert (labels[row], groups[row]) == (key % 2, key % 4)
    assert batch.object_Bhw[0].tolist() == [[0.125, 0.125], [0.125, 0.125]]  # 2 of each token's 16 pixels
