"""The two tables every room agrees on: the index of source images and the recipes of examples."""

import pandas as pd

from fieldmark.core.errors import FieldmarkError

ROLES = ("photo", "cutout", "scene")
PARTS = ("train", "train_unbiased", "val", "test")
ERASE = ("", "object", "box", "tile")
#: Families of corruption, noise first, then blur, weather, digital; ``loading.corruptions`` holds how strong each is.
CORRUPTIONS = (
    *("gaussian_noise", "shot_noise", "impulse_noise"),
    *("gaussian_blur", "defocus_blur", "motion_blur"),
    *("fog", "spatter"),
    *("brightness", "contrast", "pixelate", "jpeg"),
)
CORRUPTIONS_VERSION = 1  # of that table: raise it whenever a family or a strength changes its pixels
DROPS = ("drop_random", "drop_object", "drop_background")  # ways to lose patches of a picture
REGION_NOISE = ("noise_object", "noise_background")  # where noise can be put

#: One row per source image in ``data/raw/<dataset>/index.parquet``, sorted by ``source_id``.
INDEX = {
    "source_id": "str",  # unique, stable across machines
    "role": "str",  # photo: object in its place (mask in mask_*) | cutout: object with alpha | scene: background alone
    "shard": "str",  # file inside data/raw/<dataset>/ that holds the encoded image
    "offset": "int64",  # bytes from the start of the shard
    "bytes": "int64",
    "sha256": "str",  # of those bytes
    "width": "int64",  # px
    "height": "int64",  # px
    "label": "str",  # class of the object; "" for a scene
    "background": "str",  # class of the background; "" for a cut-out
    "mask_shard": "str",  # "" = none; a cut-out's mask is its alpha channel
    "mask_offset": "int64",
    "mask_bytes": "int64",
    "attributes": "str",  # canonical JSON object, "{}" when empty
    "licence": "str",
    "attribution": "str",
}

#: One row per example in ``data/splits/<dataset>/<seed>.parquet``: all that is needed to render it again.
RECIPE = {
    "example_id": "str",  # unique within a split
    "part": "str",  # one of PARTS
    "label": "str",
    "background": "str",
    "group": "str",  # "<label> on <background>"
    "fg_source": "str",  # source_id of the cut-out or photo
    "bg_source": "str",  # source_id of the scene (or the same photo)
    "crop_x": "int64",  # px in the scene: left edge of the square crop
    "crop_y": "int64",
    "crop_side": "int64",
    "fg_x": "float64",  # centre of the object, as a fraction of the frame
    "fg_y": "float64",
    "fg_scale": "float64",  # long side of the object, as a fraction of the frame's side
    "fg_angle": "float64",  # degrees, counter-clockwise
    "fg_flip": "bool",  # mirrored left to right
    "erase": "str",  # one of ERASE: what is taken out of the picture (silhouette black, box black, box tiled over)
    "occluder_x": "float64",  # centre of a grey square, fraction of the frame
    "occluder_y": "float64",
    "occluder_side": "float64",  # fraction of the frame's side; 0 = no occluder
    "corruption": "str",  # "<family>:<severity 1-5>", "<drop>:<share>" or "<region noise>:<sigma>", "" = none
    "keep": "str",  # JSON of a token mask whose other pixels are painted over (variants.nearer.kept); "" = nothing is
    "masked": "bool",  # last of all, pixels off the visible object become black: the true mask, on the pixels
    "seed": "int64",  # of everything random in rendering this example
}


def conform(table: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """Return ``table`` with exactly ``columns``, in their order and types.

    Raises:
        FieldmarkError: a column is missing or unknown, or holds values that are not of its type.
    """
    missing, unknown = sorted(set(columns) - {*table}), sorted({str(name) for name in table} - set(columns))
    if missing or unknown:
        raise FieldmarkError(f"a table must have the columns {list(columns)}: missing {missing}, unknown {unknown}.")
    try:
        return table[list(columns)].astype(columns).reset_index(drop=True)
    except (ValueError, TypeError) as error:
        raise FieldmarkError(f"a table has a value of the wrong type: {error}.") from error


def named(column: "pd.Series[str]") -> list[str]:
    """Return the names in a column, sorted; "" is none.

    >>> named(pd.Series(["sea", "", "sand", "sea"]))
    ['sand', 'sea']
    """
    return sorted(set(column) - {""})
