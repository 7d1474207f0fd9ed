"""A fish on a sea of few colours, so that every expected pixel can be written down."""

import hashlib
from io import BytesIO

import numpy as np
import pandas as pd
from PIL import Image

from fieldmark.core.tables import INDEX, RECIPE, conform
from fieldmark.loading.render import render
from fieldmark.loading.sources import Sources

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


def kept(root):
    """All pictures in one shard, behind eight bytes of something else."""
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
NOISE = {"corruption": "jpeg:1"}
MANY = recipes_of(*({"crop_x": x, "fg_flip": flip} for x in range(16) for flip in (True, False)), {"seed": 9})
