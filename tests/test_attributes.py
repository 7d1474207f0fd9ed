"""Attributes of examples, from their sources and their geometry."""

import json

import numpy as np
import pandas as pd
import pytest

from fieldmark.core.errors import FieldmarkError
from fieldmark.loading import attributes

INDEX = pd.DataFrame(
    [
        ("disc", "cutout", {"colour": "red", "prop": True}),
        ("cross", "cutout", {"colour": "blue", "prop": False}),
        ("bare", "cutout", {"prop": False}),
        ("beach", "scene", {"texture": "ripples", "deck": False}),
        ("bay", "scene", {"texture": "waves", "deck": False}),
        ("hawk", "photo", {"colour": "blue"}),
    ],
    columns=["source_id", "role", "attributes"],
).assign(attributes=lambda table: table["attributes"].map(json.dumps))
PLAIN = {"fg_scale": 0.5, "fg_x": 0.4, "fg_y": 0.6, "erase": "", "keep": "", "masked": False, "corruption": ""}
NAMES = [
    "object colour=blue", "object colour=red", "object prop", *attributes.GEOMETRY,
    "background texture=ripples", "background texture=waves",
]  # fmt: skip
UNKNOWN = None


def told(**recipe: object) -> list[float | None]:
    """Return the attributes of one recipe, None where unknown."""
    names, values_NA = attributes.table(pd.DataFrame([PLAIN | recipe]), INDEX)
    assert names == NAMES and values_NA.dtype == np.float32
    return [None if np.isnan(value) else value for value in values_NA[0].tolist()]


def test_attributes_are_those_of_the_sources_and_of_the_geometry() -> None:
    assert told(fg_source="disc", bg_source="bay") == [0, 1, 1, 0, 1, 0, 0, 1]
    assert told(fg_source="cross", bg_source="beach", fg_scale=0.7, fg_x=0.6, fg_y=0.1) == [1, 0, 0, 1, 0, 1, 1, 0]


def test_what_a_source_does_not_say_or_the_picture_does_not_show_is_unknown() -> None:
    assert told(fg_source="bare", bg_source="bay") == [UNKNOWN, UNKNOWN, 0, 0, 1, 0, 0, 1]
    assert told(fg_source="disc", bg_source="bay", masked=True) == [0, 1, 1, 0, 1, 0, UNKNOWN, UNKNOWN]
    assert told(fg_source="disc", bg_source="bay", erase="box") == [UNKNOWN] * 6 + [0, 1]
    assert told(fg_source="disc", bg_source="bay", keep="{}") == [UNKNOWN] * 8
    assert told(fg_source="disc", bg_source="bay", corruption="drop_random:0.5") == [UNKNOWN] * 8
    assert told(fg_source="disc", bg_source="bay", corruption="fog:3") == [0, 1, 1, 0, 1, 0, 0, 1]


def test_a_photo_tells_nothing_of_where_its_object_is() -> None:
    assert told(fg_source="hawk", bg_source="hawk") == [1, 0] + [UNKNOWN] * 6


def test_columns_do_not_depend_on_the_examples_and_large_does_not_either() -> None:
    recipes = pd.DataFrame(
        [PLAIN | {"fg_source": "disc", "bg_source": "bay", "fg_scale": scale} for scale in (0.6, 0.7)]
    )
    large = NAMES.index("object large")
    assert attributes.table(recipes, INDEX)[1][:, large].tolist() == [0, 1]
    assert attributes.table(recipes[1:], INDEX)[1][:, large].tolist() == [1]
    assert attributes.table(recipes, INDEX, middle=0.65)[1][:, large].tolist() == [0, 1]
    assert attributes.table(recipes, INDEX, middle=0.5)[1][:, large].tolist() == [1, 1]


def test_a_number_is_no_attribute() -> None:
    measured_index = INDEX.assign(attributes='{"weight": 3}')
    with pytest.raises(FieldmarkError, match="weight = 3"):
        attributes.table(pd.DataFrame([PLAIN | {"fg_source": "disc", "bg_source": "bay"}]), measured_index)
