"""Leak: does anything that the mask hides still reach the answer? A mask that cuts is exactly 0 here.

What lies outside is replaced before the model sees it, while its mask is held as it was: by nothing, and by the same
picture turned upside down. What the mask took from its surroundings is another question (``mask_stability``).
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import Answers, FloatArray, one_cell

HIGHER_IS_BETTER = False
MEANING = (
    "Largest change of any class's probability when all tokens of at most half the mask's highest weight are replaced,"
    " the mask being held; 0 = nothing outside the mask has a say."
)
CONTENTS = ("nothing", "turned")


def score(mask_Bhw: FloatArray, *, answers: Answers, answers_replaced: Answers | None) -> dict[str, Score]:
    """Return ``leak`` in [0, 1]; 0 too for a mask that hides nothing.

    Args:
        mask_Bhw: the model's mask.
        answers: weights (B, h, w) -> probabilities (B, K).
        answers_replaced: the same of ``(weights, outside_Bhw, content)``: tokens outside hold ``content`` instead of
            what was there; without it nothing is returned.
    """
    if answers_replaced is None:
        return {}
    outside_Bhw = mask_Bhw <= mask_Bhw.max((1, 2), keepdims=True) / 2
    before_BK = answers(mask_Bhw)
    changes = [np.abs(answers_replaced(mask_Bhw, outside_Bhw, content) - before_BK).max(1) for content in CONTENTS]
    return {"leak": one_cell(np.max(changes, axis=0).astype(np.float64))}
