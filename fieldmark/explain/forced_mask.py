"""The mask put to the test: does the model need what it keeps, and can it do without the rest?

The same model answers under its own mask, and under masks made of it: turned inside out, grown, shrunk, without a part.
"""

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter, minimum_filter

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import Answers, FloatArray, one_cell

HIGHER_IS_BETTER = None  # under its own mask a model should be right, under the inverted one it should not know
MEANING = (
    "Accuracy under a forced mask: the model's own, inverted (1 - mask), dilated or eroded by a token all around, or"
    " without one of the model's parts."
)


def score(
    mask_Bhw: FloatArray,
    *,
    label_B: npt.NDArray[np.int64],
    answers: Answers,
    parts_BPhw: npt.NDArray[np.bool_] | None = None,
) -> dict[str, Score]:
    """Return ``forced_own``, ``_inverted``, ``_dilated``, ``_eroded`` and, with parts, ``forced_part_<k>``, in [0, 1].

    Args:
        mask_Bhw: the model's mask.
        label_B: number of the right class.
        answers: weights (B, h, w) -> probabilities (B, K).
        parts_BPhw: which tokens belong to which part, if the model has parts.
    """
    forced = {"own": mask_Bhw, **changed(mask_Bhw)}
    if parts_BPhw is not None:
        forced |= {f"part_{part}": mask_Bhw * ~of_Bhw for part, of_Bhw in enumerate(parts_BPhw.swapaxes(0, 1))}
    said = {name: answers(keep_Bhw) for name, keep_Bhw in forced.items()}
    return {
        f"forced_{name}": one_cell((said_BK.argmax(1) == label_B).astype(np.float64), chance=1 / said_BK.shape[1])
        for name, said_BK in said.items()
    }


def changed(mask_Bhw: FloatArray) -> dict[str, FloatArray]:
    """Return masks made of a mask; beyond the border nothing grows and nothing shrinks.

    >>> changed(np.array([[[0.0, 1.0, 1.0]]]))["eroded"]
    array([[[0., 0., 1.]]])
    """
    around = {"size": (1, 3, 3), "mode": "nearest"}
    return {
        "inverted": 1 - mask_Bhw,
        "dilated": maximum_filter(mask_Bhw, **around),
        "eroded": minimum_filter(mask_Bhw, **around),
    }
