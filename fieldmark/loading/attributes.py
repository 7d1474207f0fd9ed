"""What could be told of an example beside its class: attributes of its sources, place and size of its object.

Columns come from the index and never from the recipes, so that every split of a data set has the same ones.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fieldmark.core.errors import FieldmarkError
from fieldmark.core.tables import DROPS

Known = Mapping[str, Mapping[str, Any]]  # source_id -> its attributes
Floats = npt.NDArray[np.float32]

GEOMETRY = ("object large", "object left", "object upper")


def table(recipes: pd.DataFrame, index: pd.DataFrame, *, middle: float = 0.625) -> tuple[list[str], Floats]:
    """Return names of A attributes and their values (N, A): 1 = has it, 0 = has not, NaN = unknown or not to be seen.

    The object's come first, then its geometry, then the background's. Words become a column for each value
    (``object colour=red``), true and false one column; what is the same in all sources becomes none.

    Args:
        recipes: N rows of a RECIPE table.
        index: the INDEX table of their sources.
        middle: long side, as a share of the frame, above which an object is large: fixed, so that it says the same of
            every set; the default is the middle of the range that ``splits.spurious`` draws from.

    Raises:
        FieldmarkError: an attribute is neither a word nor true or false.
    """
    scene = index["role"] == "scene"
    on_object, behind = _columns(_known(index[~scene])), _columns(_known(index[scene]))
    visible, whole = ((recipes[name] == "").to_numpy() for name in ("erase", "keep"))
    composed = recipes["fg_source"].isin(index.loc[index["role"] == "cutout", "source_id"]).to_numpy()
    drawn = {
        GEOMETRY[0]: recipes["fg_scale"] > middle,
        GEOMETRY[1]: recipes["fg_x"] < 0.5,
        GEOMETRY[2]: recipes["fg_y"] < 0.5,
    }
    columns = {
        **{f"object {name}": _where(visible, recipes["fg_source"].map(said)) for name, said in on_object.items()},
        **{name: _where(visible & composed, value) for name, value in drawn.items()},
        **{
            f"background {name}": _where(~recipes["masked"].to_numpy(), recipes["bg_source"].map(said))
            for name, said in behind.items()
        },
    }
    values_NA = np.stack([*columns.values()], 1)
    whole = whole & np.array([not name.startswith(DROPS) for name in recipes["corruption"]], bool)
    values_NA[~whole] = np.nan  # part of the picture is painted over: who knows which
    return [*columns], values_NA


def _where(seen_N: npt.NDArray[np.bool_], value: pd.Series) -> Floats:
    return np.where(seen_N, value.to_numpy(np.float32), np.float32(np.nan))


def _known(sources: pd.DataFrame) -> Known:
    said = {source: json.loads(text) for source, text in zip(sources["source_id"], sources["attributes"], strict=True)}
    for source, attributes in said.items():
        for name, value in attributes.items():
            if not isinstance(value, str | bool):
                raise FieldmarkError(
                    f"source '{source}' has the attribute {name} = {value!r}: only words, true and false can be "
                    "learnt; bin it, or leave it out of the index."
                )
    return said


def _columns(known: Known) -> dict[str, dict[str, float]]:
    """Return for each column the values of the sources that have the attribute at all.

    >>> _columns({"a": {"ink": "red"}, "b": {"ink": "blue", "wet": True}, "c": {"wet": False}, "d": {"wet": True}})
    {'ink=blue': {'a': 0.0, 'b': 1.0}, 'ink=red': {'a': 1.0, 'b': 0.0}, 'wet': {'b': 1.0, 'c': 0.0, 'd': 1.0}}
    """
    columns: dict[str, dict[str, float]] = {}
    for name in sorted({name for attributes in known.values() for name in attributes}):
        has = {source: attributes[name] for source, attributes in known.items() if name in attributes}
        values = sorted(set(has.values()), key=str)
        if len(values) < 2:
            continue
        if all(isinstance(value, bool) for value in values):
            columns[name] = {source: float(value) for source, value in has.items()}
            continue
        for value in values:
            columns[f"{name}={value}"] = {source: float(own == value) for source, own in has.items()}
    return columns
