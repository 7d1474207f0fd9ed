"""Render keys, equal where pixels are, and the cache that holds each render once."""

import os
import signal
from multiprocessing import get_context

import pytest
from fish import MANY, NOISE, SIZE, draw, kept, recipes_of

from fieldmark.core.errors import FieldmarkError
from fieldmark.loading import cache
from fieldmark.loading.cache import rendered
from fieldmark.loading.keys import render_keys
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("raw"))


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
