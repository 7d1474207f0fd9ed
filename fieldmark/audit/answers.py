"""What a black box says of recipes, each distinct picture asked about once; and where hiding a patch changes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from fieldmark.audit.mapping import Ints, columns, folded
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError
from fieldmark.loading.cache import Renders, rendered
from fieldmark.loading.painting import GREY
from fieldmark.loading.sources import Sources

BATCH = 32
GRID = 7  # patches along a side: 49 questions a picture
Floats = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


class Answers:
    """``predict(recipes)`` of a black box, for measures that know the data's classes."""

    def __init__(self, box: BlackBox, found: Ints, classes: list[str], sources: Sources, folder: Path) -> None:
        self._box, self._found, self._classes = box, found, classes
        self._sources, self._folder = sources, folder
        self._said: dict[str, Floats] = {}  # render key -> (M,) probabilities of all that the model can say

    def __call__(self, recipes: pd.DataFrame) -> Floats:
        """Return probabilities (N, K): an answer that the data has no class for counts as a wrong one."""
        return folded(self.columns(recipes), self.labels(recipes), len(self._classes))

    def columns(self, recipes: pd.DataFrame) -> Floats:
        """Return probabilities, with a column more where the model can say what the data does not have."""
        return columns(self.raw(recipes), self._found, len(self._classes))

    def labels(self, recipes: pd.DataFrame) -> Ints:
        """Return the number (N,) of each label."""
        return np.searchsorted(self._classes, recipes["label"].to_numpy(str)).astype(np.int64)

    def raw(self, recipes: pd.DataFrame) -> Floats:
        """Return (N, M) probabilities of the model's own classes."""
        what = str(recipes.attrs.get("variant", "as they are"))
        shown = self.pictures(recipes, what)
        fresh = [row for row, key in enumerate(shown.keys_U) if key not in self._said]
        with tqdm(total=len(fresh), desc=f"ask      {what}", unit="image", disable=not fresh) as bar:
            for start in range(0, len(fresh), BATCH):
                rows = fresh[start : start + BATCH]
                answers_BM = self._ask(np.asarray(shown.images_UHW3[rows]))
                self._said |= {shown.keys_U[row]: answer_M for row, answer_M in zip(rows, answers_BM, strict=True)}
                bar.update(len(rows))
        return np.stack([self._said[shown.keys_U[row]] for row in shown.rows_N])

    def pictures(self, recipes: pd.DataFrame, what: str = "as they are") -> Renders:
        """Return the pixels the model sees."""
        return rendered(recipes, self._sources, self._box.size, self._folder, desc=f"render   {what}")

    def occlusion(self, recipes: pd.DataFrame) -> FloatArray:
        """Return maps (N, GRID, GRID): how far the log-probability of the label falls when a patch is painted grey.

        Where it rises, the map is 0. The probability is that of all the model's classes that stand for the label. Of
        logarithms, because a sure model's probability hardly moves (arXiv 1311.2901 hides patches in the same way).
        """
        shown = self.pictures(recipes)
        labels_N, maps = self.labels(recipes), []
        with tqdm(total=len(recipes), desc="hide     patches", unit="image") as bar:
            for row, label in zip(shown.rows_N, labels_N, strict=True):
                maps.append(self._map(np.asarray(shown.images_UHW3[row]), label))
                bar.update()
        return np.stack(maps)

    def _map(self, image_HW3: npt.NDArray[np.uint8], label: Any) -> FloatArray:
        asked = np.concatenate([image_HW3[None], hidden(image_HW3, GRID)])
        parts = [self._ask(asked[start : start + BATCH]) for start in range(0, len(asked), BATCH)]
        label_P = np.concatenate(parts).astype(np.float64)[:, self._found == label].sum(1)
        known_P = np.log(label_P.clip(np.finfo(np.float32).tiny))
        return np.asarray((known_P[0] - known_P[1:]).clip(0).reshape(GRID, GRID))

    def _ask(self, images_BHW3: npt.NDArray[np.uint8]) -> Floats:
        answers_BM = np.asarray(self._box.probabilities(images_BHW3), np.float32)
        if not np.isfinite(answers_BM).all():
            broken = int((~np.isfinite(answers_BM)).any(1).sum())
            raise FieldmarkError(
                f"the model's answers to {broken} of {len(images_BHW3)} pictures are no numbers: check its "
                "weights, and how pixels become numbers (--config)."
            )
        return answers_BM


def hidden(image_HW3: npt.NDArray[np.uint8], grid: int) -> npt.NDArray[np.uint8]:
    """Return (grid * grid, H, W, 3) the picture with each patch in turn painted grey, row by row.

    >>> hidden(np.zeros((2, 2, 3), np.uint8), 2)[1, :, :, 0].tolist()
    [[0, 128], [0, 0]]
    """
    height, width = image_HW3.shape[:2]
    patch_HW = (np.arange(height) * grid // height)[:, None] * grid + np.arange(width) * grid // width
    covered_PHW1 = (patch_HW == np.arange(grid * grid)[:, None, None])[..., None]
    return np.where(covered_PHW1, np.uint8(GREY), image_HW3)


class Reader:
    """One end of the scale: names the class by the object, or by the background, wherever it can be seen."""

    def __init__(self, classes: list[str], pairs: dict[str, str], *, by: str) -> None:
        self._classes, self._by = classes, by
        self._named = {background: label for label, background in sorted(pairs.items(), reverse=True)}

    def columns(self, recipes: pd.DataFrame) -> Floats:
        """Return the same: it has nothing else to say."""
        return self(recipes)

    def __call__(self, recipes: pd.DataFrame) -> Floats:
        """Return (N, K) certainties; where there is nothing to read, the first class."""
        read, unseen = recipes["label"], recipes["erase"] != ""
        if self._by == "background":
            read, unseen = recipes["background"].map(self._named), recipes["masked"]
        read = read.where(~unseen).fillna(self._classes[0])
        return np.asarray(np.array(self._classes) == read.to_numpy(str)[:, None], np.float32)
