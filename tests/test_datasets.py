"""What CONTRIBUTING promises of every dataset; packages made here for reading Debian's; shapes of known area."""

import hashlib
import io
import json
import os
import zlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from fake_debian import CONTENTS, build, install_apt_get, pins, serve
from PIL import Image

from fieldmark.checks import check_index
from fieldmark.core import plugins, store, tables
from fieldmark.core.errors import FieldmarkError
from fieldmark.datasets import _debian, _drawing, _shards, folder, shapes, wildstamps


@pytest.fixture
def debs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that apt-get serves, and a wildstamps that pins what they hold."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "debs").mkdir()
    install_apt_get(tmp_path / "bin", tmp_path / "debs")
    serve(tmp_path / "debs", CONTENTS)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(wildstamps, "pinned", lambda: pins(CONTENTS))
    return tmp_path / "debs"


def _pull(dataset: ModuleType, into: Path) -> pd.DataFrame:
    into.mkdir()
    options = {"path": str(_own(into.parent / "own"))} if dataset is folder else {}
    dataset.pull(into, **options)
    return dataset.index(into, **options)


def _own(place: Path) -> Path:
    """Write cut-outs and scenes as a user keeps them, once."""
    draw = np.random.default_rng(0)
    for kind, what in (("objects", "duck"), ("objects", "red fox"), ("scenes", "lake"), ("scenes", "wood")):
        for number in range(2 * (not (place / kind / what).exists())):
            pixels = draw.integers(0, 256, (20, 30, 4), np.uint8)
            pixels[..., 3] = 255 * (np.arange(30) > 9)
            path = place / kind / what / f"{number}.{'png' if kind == 'objects' else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels if kind == "objects" else pixels[..., :3]).save(path)
    return place


@pytest.fixture(params=plugins.names("datasets"))
def dataset(request: pytest.FixtureRequest, debs: Path) -> ModuleType:
    return plugins.find("datasets", request.param)


def test_index_tells_the_truth_about_every_image(dataset: ModuleType, tmp_path: Path) -> None:
    index = _pull(dataset, tmp_path / "raw")
    pd.testing.assert_frame_equal(index, tables.conform(index, tables.INDEX))
    for row in index.itertuples():
        content = (tmp_path / "raw" / row.shard).read_bytes()[row.offset : row.offset + row.bytes]
        assert hashlib.sha256(content).hexdigest() == row.sha256
        with Image.open(io.BytesIO(content)) as image:
            assert image.size == (row.width, row.height)
            assert row.role != "cutout" or image.mode == "RGBA"
        assert row.attributes == store.canonical(json.loads(row.attributes))


def test_index_is_complete_and_unambiguous(dataset: ModuleType, tmp_path: Path) -> None:
    index = _pull(dataset, tmp_path / "raw")
    assert index["source_id"].is_unique and index["source_id"].is_monotonic_increasing
    assert index["sha256"].is_unique
    assert (index["licence"] != "").all() and (index["attribution"] != "").all()
    cutouts, scenes = index[index["role"] == "cutout"], index[index["role"] == "scene"]
    assert len(cutouts) + len(scenes) == len(index)
    classes = dataset.CLASSES or ("duck", "red fox")  # none: whatever the folders are called
    assert set(cutouts["label"]) <= set(classes) and set(cutouts["background"]) == {""}
    assert set(scenes["background"]) <= set(dataset.BACKGROUNDS or ("lake", "wood")) and set(scenes["label"]) == {""}


def test_pulling_twice_gives_the_same_bytes_and_nothing_else(dataset: ModuleType, tmp_path: Path) -> None:
    first, second = _pull(dataset, tmp_path / "first"), _pull(dataset, tmp_path / "second")
    pd.testing.assert_frame_equal(first, second)
    shards = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    assert shards == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert set(shards) == set(first["shard"])


def test_wildstamps_pins_what_its_page_says() -> None:
    rows = wildstamps.pinned()
    assert Counter((row["label"], row["background"]) for row in rows) == {
        ("bird", ""): 35,
        ("land mammal", ""): 60,
        ("", "land"): 21,
        ("", "water"): 8,
    }
    attributes = {row["source_id"]: json.loads(row["attributes"]) for row in rows}
    assert sum(each.get("waterbird", False) for each in attributes.values()) == 12
    assert attributes["cutout/koala"] == {"prop": True} and attributes["scene/ColdRipple"]["deck"]
    assert len({row["member"] for row in rows}) == len({row["sha256"] for row in rows}) == len(rows) == 124
    assert all(row["licence"] and row["attribution"] and row["stated_in"].startswith("usr/share/") for row in rows)


def test_wildstamps_lists_images_that_differ_or_are_missing(debs: Path, tmp_path: Path) -> None:
    serve(debs, {"usr/stamps/duck.png": b"another duck", "usr/scenes/lake.png": CONTENTS["usr/scenes/lake.png"]})
    with pytest.raises(FieldmarkError, match=r"^2 images .*duck\.png, .*goat\.png.*`shapes`") as caught:
        _pull(wildstamps, tmp_path / "raw")
    assert "lake.png" not in str(caught.value)


def test_wildstamps_without_apt_names_shapes(debs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FieldmarkError, match="apt-get was not found.*`shapes`"):
        _pull(wildstamps, tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_failed_download_repeats_what_apt_said(debs: Path, tmp_path: Path) -> None:
    next(debs.glob("scenes_*")).unlink()
    with pytest.raises(FieldmarkError, match=r"download scenes \(E: Unable to locate package scenes\).*`shapes`"):
        _pull(wildstamps, tmp_path / "raw")
    assert list((tmp_path / "raw").iterdir()) == []


def test_no_path_in_a_package_leaves_the_folder(debs: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_text("secret")
    hostile = {"../evil": b"evil", f"{tmp_path}/evil": b"evil", "./usr/../../evil": b"evil"}
    links = {"./usr/stamps/goat.png": str(outside), "./usr/link": ".."}
    build(debs / "stamps_1%3a2.0_all.deb", hostile | {"./usr/stamps/duck.png": CONTENTS["usr/stamps/duck.png"]}, links)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FieldmarkError, match=r"^1 images .*goat\.png"):  # a link is no image, wherever it points
        _pull(wildstamps, tmp_path / "raw")
    written = set(tmp_path.rglob("*")) - set(before) - {tmp_path / "raw"}
    assert written == {tmp_path / "raw" / "stamps.tar", tmp_path / "raw" / "scenes.tar"}
    assert [member.name for member in _shards.read(tmp_path / "raw" / "stamps.tar")] == ["usr/stamps/duck.png"]


def test_a_truncated_image_is_named(debs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goat = CONTENTS["usr/stamps/goat.png"]
    truncated = CONTENTS | {"usr/stamps/goat.png": goat[: len(goat) // 2]}
    serve(debs, truncated)
    monkeypatch.setattr(wildstamps, "pinned", lambda: pins(truncated))
    with pytest.raises(FieldmarkError, match=r"^usr/stamps/goat\.png can't be decoded"):
        _pull(wildstamps, tmp_path / "raw")


def test_an_incomplete_folder_is_no_smaller_dataset(debs: Path, tmp_path: Path) -> None:
    _pull(wildstamps, tmp_path / "raw")
    (tmp_path / "raw" / "scenes.tar").unlink()
    with pytest.raises(FieldmarkError, match=r"usr/scenes/lake\.png"):
        wildstamps.index(tmp_path / "raw")


@pytest.mark.parametrize("suffix", [".xz", ".zst"])
def test_only_wanted_files_are_read_from_a_package(tmp_path: Path, suffix: str) -> None:
    build(tmp_path / "a.deb", {"./a": b"A" * 5000, "./b": b"B", "./c": b"C"}, suffix=suffix)
    assert _debian.members(tmp_path / "a.deb", {"a", "c", "d"}) == {"a": b"A" * 5000, "c": b"C"}


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "whole.deb", {"a": os.urandom(50_000)})
    (tmp_path / "half.deb").write_bytes((tmp_path / "whole.deb").read_bytes()[:25_000])
    (tmp_path / "text.deb").write_text("a page of a captive portal")
    (tmp_path / "hollow.deb").write_bytes(b"!<arch>\n")
    build(tmp_path / "odd.deb", {}, suffix=".lz")
    for name in ("half", "text", "hollow", "odd"):
        with pytest.raises(FieldmarkError, match=f"{name}.deb is not a whole Debian package"):
            _debian.members(tmp_path / f"{name}.deb", {"a"})


def test_a_shard_depends_on_its_members_alone(tmp_path: Path) -> None:
    _shards.write(tmp_path / "one.tar", {"a": b"A", "b": b"BB"})
    _shards.write(tmp_path / "two.tar", {"b": b"BB", "a": b"A"})
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    # a tar is blocks of 512 bytes: header, content, header, content
    assert list(_shards.read(tmp_path / "one.tar")) == [("a", 512, b"A"), ("b", 1536, b"BB")]


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    _shards.write(tmp_path / "one.tar", {"a": b"A" * 2000})
    os.truncate(tmp_path / "one.tar", 1000)
    with pytest.raises(FieldmarkError, match=r"one\.tar is damaged"):
        list(_shards.read(tmp_path / "one.tar"))


@pytest.mark.parametrize(("shape", "area"), [("disc", np.pi / 4), ("square", 1), ("triangle", 1 / 2), ("cross", 5 / 9)])
def test_a_shape_covers_the_area_geometry_gives(shape: str, area: float) -> None:
    share = _drawing.coverage(shape, 100)
    assert share.mean() == pytest.approx(area * _drawing.REACH**2, rel=0.01)
    assert share[0].max() == share[:, 0].max() == 0  # nothing touches the edge


def test_more_shapes_leave_the_others_as_they_were(tmp_path: Path) -> None:
    few, many, other = tmp_path / "few", tmp_path / "many", tmp_path / "other"
    for place, count, seed in ((few, 2, 0), (many, 3, 0), (other, 2, 1)):
        place.mkdir()
        shapes.pull(
            place,
            classes=["cross"],
            backgrounds=["brick"],
            objects_per_class=count,
            scenes_per_background=count,
            seed=seed,
        )
    hashes = [set(shapes.index(place)["sha256"]) for place in (few, many, other)]
    assert [len(each) for each in hashes] == [4, 6, 4]
    assert hashes[0] < hashes[1] and not hashes[0] & hashes[2]


def test_colour_tells_the_ground() -> None:
    means = [
        [_drawing.scene(ground, np.random.default_rng(i)).mean((0, 1)) for i in range(5)]
        for ground in shapes.BACKGROUNDS
    ]
    known = np.array([scenes[0] for scenes in means])  # one known scene of each kind names all the others
    for ground, scenes in enumerate(means):
        assert [((known - mean) ** 2).sum(1).argmin() for mean in scenes] == [ground] * 5


def test_colour_does_not_tell_the_shape(tmp_path: Path) -> None:
    index = _pull(shapes, tmp_path / "raw").query("role == 'cutout'")
    colours = index["attributes"].map(lambda attributes: json.loads(attributes)["colour"])
    assert (
        pd.crosstab(index["label"], colours).nunique() == 1
    ).all()  # each colour as often in one class as in another


def test_shapes_refuses_what_it_does_not_draw(tmp_path: Path) -> None:
    with pytest.raises(FieldmarkError, match="does not draw star: use some of disc, square"):
        shapes.pull(tmp_path, classes=["disc", "star"])
    assert list(tmp_path.iterdir()) == []


def test_own_pictures_pass_the_checks_and_keep_their_bytes(tmp_path: Path) -> None:
    index = _pull(folder, tmp_path / "raw")
    counts = {("duck", ""): 2, ("red fox", ""): 2, ("", "lake"): 2, ("", "wood"): 2}
    assert Counter(zip(index["label"], index["background"], strict=True)) == counts
    own = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "own").rglob("*.*g")}
    assert set(index["sha256"]) == own
    verdict = check_index(index, tmp_path / "raw", classes=["duck", "red fox"], backgrounds=["lake", "wood"])
    assert verdict.passed, verdict.summary()


def test_the_nearest_licence_counts(tmp_path: Path) -> None:
    own = _own(tmp_path / "own")
    notes = {"licence.txt": "CC-BY-4.0\n", "objects/duck/licence.txt": "CC0-1.0", "scenes/attribution.txt": "Jo"}
    for name, text in notes.items():
        (own / name).write_text(text)
    index = _pull(folder, tmp_path / "raw")
    told = {(row.label or row.background): (row.licence, row.attribution) for row in index.itertuples()}
    assert told == {
        "duck": ("CC0-1.0", "not stated"),
        "red fox": ("CC-BY-4.0", "not stated"),
        "lake": ("CC-BY-4.0", "Jo"),
        "wood": ("CC-BY-4.0", "Jo"),
    }


def test_a_scene_that_a_camera_turned_stands_upright(tmp_path: Path) -> None:
    path = _own(tmp_path / "own") / "scenes" / "lake" / "0.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6  # turned by a quarter
        image.save(path, exif=exif)
    index = _pull(folder, tmp_path / "raw").set_index("source_id")
    assert (index.loc["scenes/lake/0.jpg", "width"], index.loc["scenes/lake/0.jpg", "height"]) == (20, 30)
    assert (index.loc["scenes/lake/1.jpg", "width"], index.loc["scenes/lake/1.jpg", "height"]) == (30, 20)


def _opaque(own: Path) -> None:
    Image.new("RGB", (9, 9)).save(own / "objects" / "duck" / "flat.png")


def _invisible(own: Path) -> None:
    Image.new("RGBA", (9, 9)).save(own / "objects" / "duck" / "gone.png")


def _torn(own: Path) -> None:
    (own / "scenes" / "lake" / "torn.jpg").write_bytes(b"half a picture")


def _deep(own: Path) -> None:
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(own / "scenes" / "lake" / "deep.png")


def _huge(own: Path) -> None:
    """Write a header that speaks of more pixels than Pillow will make."""
    size, chunks = (60_000).to_bytes(4, "big") * 2, b"\x89PNG\r\n\x1a\n"
    for name, held in ((b"IHDR", size + b"\x08\x02\x00\x00\x00"), (b"IDAT", b"")):
        chunks += len(held).to_bytes(4, "big") + name + held + zlib.crc32(name + held).to_bytes(4, "big")
    (own / "scenes" / "lake" / "huge.png").write_bytes(chunks)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_deep, r"deep\.png has more than 8 bits a pixel's grey: save it with 8"),
        (_huge, r"huge\.png can't be read as a picture .*decompression bomb"),
        (_opaque, r"flat\.png has no transparent ground: cut the object out"),
        (_invisible, r"gone\.png has nothing to be seen"),
        (_torn, r"torn\.jpg can't be read as a picture"),
        (lambda own: (own / "objects").rename(own / "things"), r"own holds no objects: put there objects/<class>/"),
        (
            lambda own: own.rename(own.with_name("gone")),
            r"there is no folder .*own': set .*path to one that holds objects/",
        ),
    ],
)
def test_pictures_that_will_not_do_are_named(spoil, said: str, tmp_path: Path) -> None:
    own = _own(tmp_path / "own")
    spoil(own)
    (tmp_path / "raw").mkdir()
    with pytest.raises(FieldmarkError, match=said):
        folder.pull(tmp_path / "raw", path=str(own))
