"""The pictures of an audit: the test part of this project's split, or all of another data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fieldmark.core import layout, plugins, store, tables
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import Params, load
from fieldmark.loading.keys import number
from fieldmark.loading.sources import Sources
from fieldmark.splits import _whole

#: Which background a class of the built-in data usually stands on, where no params.yaml says it.
PAIRS = {"wildstamps": {"bird": "water", "land mammal": "land"}, "shapes": {"disc": "sand", "square": "sea"}}


class Examples(NamedTuple):
    """N examples that can be rendered, and what is known of them."""

    name: str
    recipes: pd.DataFrame  # (N) of part "test"
    sources: Sources
    pairs: dict[str, str]
    seed: int
    about: str  # which they are, for people
    train_groups: dict[str, float] | None = None  # None: nobody knows what the model was trained on

    @property
    def classes(self) -> list[str]:
        """The data's classes, in the order of ``predict``'s columns."""
        return sorted(self.pairs)


def params_of(root: Path) -> Params | None:
    """Return the project's parameters; None outside of a project."""
    path = root / "params.yaml"
    return load(path) if path.exists() else None


def find(root: Path, data: str | None, *, pairs: Mapping[str, str] | None, seed: int | None, count: int) -> Examples:
    """Return ``count`` examples, as many of each group.

    Args:
        root: the project, or any folder.
        data: a data set of fieldmark, or a folder of cut-outs and scenes; None: the project's own.
        pairs: class -> the background it usually stands on; None: those of params.yaml or of the built-in data.
        seed: of the split; None: the project's first.
        count: at most, of a project's test part; at least, elsewhere.

    Raises:
        FieldmarkError: no such data, or no pairs.
    """
    params, known = params_of(root), [name for name in plugins.names("datasets") if name != "folder"]
    if data is None and params is None:
        raise FieldmarkError(f"name what to show the model: --data {known[0]}, --data {known[1]}, or --data FOLDER.")
    if params is not None and data in (None, params.dataset.name):
        drawn = layout.split(root, params, params.seeds[0] if seed is None else seed)
        if drawn.exists() and layout.index(root, params).exists():
            return _of_project(root, params, pairs, params.seeds[0] if seed is None else seed, count)
        if data is None or seed is not None:  # a model of ours may have been trained on what another split tests
            raise FieldmarkError(f"{drawn} is not there: run dvc repro split, or name other --data.")
    if data in known:
        return _whole_of(root, str(data), {}, pairs or PAIRS.get(str(data)), seed or 0, count)
    if not data or not Path(data).is_dir():
        raise FieldmarkError(
            f"there is no data '{data}': use {', '.join(known)}, or a folder with objects/<class>/*.png (cut-outs) and "
            "scenes/<background>/*.jpg."
        )
    return _whole_of(root, "folder", {"path": str(data)}, pairs, seed or 0, count)


def _of_project(root: Path, params: Params, pairs: Mapping[str, str] | None, seed: int, count: int) -> Examples:
    split = store.read_table(layout.split(root, params, seed))
    shares = split.loc[split["part"] == "train", "group"].value_counts(normalize=True).to_dict()
    recipes = chosen(split[split["part"] == "test"].reset_index(drop=True), count)
    sources = Sources(layout.raw(root, params), store.read_table(layout.index(root, params)))
    about = f"the test part of {params.dataset.name}, split {seed}"
    goes_with = dict(pairs or params.split.pairs)
    _demand_pairs(goes_with, sources.index)
    return Examples(
        params.dataset.name, recipes, sources, goes_with, seed, about, {str(k): v for k, v in shares.items()}
    )


def _demand_pairs(pairs: Mapping[str, str], index: pd.DataFrame) -> None:
    """Refuse pairs that are not of the data: a class left out would not be asked about, and a loss not be seen."""
    cutouts = index["role"] == "cutout"
    labels, backgrounds = tables.named(index.loc[cutouts, "label"]), tables.named(index.loc[~cutouts, "background"])
    if len(labels) < 2:
        raise FieldmarkError(f"the data has the labels {labels}: give objects of two or more, or no answer is wrong.")
    if unpaired := sorted({*labels} - {*pairs}):
        raise FieldmarkError(f"--pairs names no background for the labels {unpaired}: the data has {labels}.")
    if unknown := sorted({*pairs} - {*labels}):
        raise FieldmarkError(f"--pairs names the labels {unknown}: the data has {labels} and no other.")
    if absent := sorted({*pairs.values()} - {*backgrounds}):
        raise FieldmarkError(f"--pairs asks for the backgrounds {absent}: the scenes show {backgrounds}.")


def chosen(recipes: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return ``count`` rows in their order, as many of each group: those whose ids have the smallest hashes."""
    groups = recipes["group"].nunique()
    rank = recipes["example_id"].map(number).groupby(recipes["group"]).rank()
    return recipes[rank <= max(1, count // groups)].reset_index(drop=True)


def _whole_of(
    root: Path, dataset: str, options: dict[str, str], pairs: Mapping[str, str] | None, seed: int, count: int
) -> Examples:
    place = _pulled(root, dataset, options)
    index = store.read_table(place / "index.parquet")
    labels, backgrounds = tables.named(index["label"]), tables.named(index["background"])
    if pairs is None:
        guess = ",".join(f"{label}={backgrounds[row % len(backgrounds)]}" for row, label in enumerate(labels))
        raise FieldmarkError(
            f"say on which of {', '.join(backgrounds)} each of {', '.join(labels)} usually stands, such as --pairs "
            f"'{guess}'."
        )
    _demand_pairs(pairs, index)
    recipes = _whole.assign(index, seed=seed, pairs=pairs, count=count)
    objects, scenes = recipes["fg_source"].nunique(), recipes["bg_source"].nunique()
    name = Path(options["path"]).resolve().name if options else dataset
    about = f"{objects} objects on {scenes} scenes of {name}, which the model is taken not to have seen"
    return Examples(name, recipes, Sources(place, index), dict(pairs), seed, about)


def _pulled(root: Path, dataset: str, options: dict[str, str]) -> Path:
    """Return the folder of a data set that is no project's: brought and checked once, then kept in the cache."""
    from fieldmark.checks import check_index, demand

    plugin = plugins.find("datasets", dataset)
    content = {"": store.sha256(Path(str(plugin.__file__))), **_content(options)}
    place = layout.cache(root) / "audit" / f"{dataset}-{store.fingerprint(content)[:12]}"
    if not place.exists():
        with store.atomic(place) as folder:
            folder.mkdir()
            plugin.pull(folder, **options)
            index = tables.conform(plugin.index(folder, **options), tables.INDEX)
            labels, backgrounds = tables.named(index["label"]), tables.named(index["background"])
            demand(check_index(index, folder, classes=labels, backgrounds=backgrounds), f"the data of {dataset}")
            store.write_table(folder / "index.parquet", index)
    return place


def _content(options: dict[str, str]) -> dict[str, str]:
    """Return the sha256 of each file of a user's folder."""
    folder = Path(options["path"]) if options else None
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder else []
    return {path.relative_to(str(folder)).as_posix(): store.sha256(path) for path in files}
