"""The pictures of ``shapes``: what is inside a shape, what a ground looks like; x runs right, y runs down."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

REACH = 0.9  # half side of a shape, as a share of half its canvas: a margin, so that no mask touches the edge
FINE = 4  # sub-pixels per pixel and axis when a shape's edge is drawn
SCENE = (320, 640)  # height, width in px: wide enough to be cut into regions

COLOURS: dict[str, Colour] = {
    "red": (205, 60, 50),
    "yellow": (225, 200, 60),
    "green": (60, 160, 70),
    "blue": (60, 90, 200),
    "violet": (150, 80, 180),
    "white": (235, 235, 230),
}

#: name -> whether a point is inside, for coordinates in [-1, 1]; areas pi, 4, 2 and 20/9 of the 2 x 2 square.
SHAPES: dict[str, Callable[[Field, Field], npt.NDArray[np.bool_]]] = {
    "disc": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 1,
    "triangle": lambda x, y: (abs(y) <= 1) & (abs(x) <= (y + 1) / 2),
    "cross": lambda x, y: (np.maximum(abs(x), abs(y)) <= 1) & (np.minimum(abs(x), abs(y)) <= 1 / 3),
}


def coverage(shape: str, side: int) -> Field:
    """Return the share of each pixel of a ``side`` x ``side`` canvas that the shape covers, in [0, 1].

    >>> float(coverage("square", 100).mean().round(2))  # REACH squared
    0.81
    """
    middles = (np.arange(side * FINE) + 0.5) / (side * FINE) * 2 - 1
    inside = SHAPES[shape](middles[None, :] / REACH, middles[:, None] / REACH)
    return np.asarray(inside.reshape(side, FINE, side, FINE).mean((1, 3)))


def cutout(shape: str, colour: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one object as RGBA (side, side, 4), its colour shaded from one side and grainy."""
    side = int(rng.integers(96, 129))
    y, x = np.mgrid[0:side, 0:side] / side
    angle = rng.uniform(0, 2 * np.pi)
    shade = 0.9 + 0.3 * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    rgb = np.array(COLOURS[colour]) * shade[..., None] + rng.normal(0, 5, (side, side, 1))
    return np.dstack([_bytes(rgb), _bytes(coverage(shape, side) * 255)])


def _ripples(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Wind ripples: slanted stripes that meander."""
    slant, period, meander = rng.uniform(0.6, 1.4), rng.uniform(16, 28), rng.uniform(60, 120)
    bend = 2 * np.sin(2 * np.pi * (y - x) / meander)
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (x + slant * y) / period + bend))


def _waves(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Long level crests, narrow and bright."""
    period, length, phase = rng.uniform(22, 40), rng.uniform(90, 180), rng.uniform(0, 2 * np.pi)
    return np.asarray((0.5 + 0.5 * np.sin(2 * np.pi * y / period + np.sin(2 * np.pi * x / length + phase))) ** 4)


def _blades(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Upright strokes of random brightness, four px wide."""
    length, lean = rng.integers(24, 48), rng.uniform(-0.2, 0.2)
    brightness = rng.random((64, 256))
    return np.asarray(brightness[(y // length).astype(int), ((x + lean * y) // 4).astype(int) % 256])


def _bricks(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Courses of bricks, each set off by half a brick, with bright joints."""
    height, width = rng.uniform(24, 36), rng.uniform(56, 84)
    shifted = x + width / 2 * (y // height % 2)
    return np.where((y % height < 4) | (shifted % width < 4), 1.0, 0.25)


class Ground(NamedTuple):
    """A kind of background: its texture runs from a dark colour (0) to a bright one (1)."""

    texture: str
    field: Callable[[Field, Field, np.random.Generator], Field]  # x, y in px -> brightness in [0, 1]
    dark: Colour
    bright: Colour


GROUNDS = {
    "sand": Ground("ripples", _ripples, (176, 140, 92), (222, 194, 146)),
    "sea": Ground("waves", _waves, (24, 70, 116), (150, 196, 216)),
    "grass": Ground("blades", _blades, (30, 76, 24), (132, 176, 66)),
    "brick": Ground("bricks", _bricks, (120, 30, 20), (190, 180, 170)),
}


def scene(ground: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw one background as RGB (320, 640, 3); scenes of a kind differ in scale, slant, tint and grain."""
    _, field, dark, bright = GROUNDS[ground]
    y, x = np.mgrid[0 : SCENE[0], 0 : SCENE[1]].astype(np.float64)
    brightness = field(x, y, rng)[..., None]
    rgb = (1 - brightness) * np.array(dark) + brightness * np.array(bright)
    return _bytes(rgb + rng.normal(0, 8, 3) + rng.normal(0, 6, (*SCENE, 1)))


def _bytes(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.clip(values.round(), 0, 255), dtype=np.uint8)
