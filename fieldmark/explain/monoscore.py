"""Whether the units that the classifier reads fire on one thing each, and whether that is an object or a background.

The monosemanticity of each unit (MonoScore, arXiv 2504.02821) over what any two pictures have in common; then the same
activations against how the objects look alone, and how the backgrounds do (ours).
"""

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._monosemanticity import MINIMUM, FloatArray, Scores
from fieldmark.explain._tokens import one_cell
from fieldmark.explain._units import Ask, lifts, preferences

HIGHER_IS_BETTER = None  # this says what the units are like; what a classifier makes of them is `background_weight`
MEANING = (
    "How much more alike the pictures look that a unit of the last layer fires on than any two do, mean over units"
    " (lift, 1 = one thing alone); the same for objects alone less that for backgrounds alone; the share of units that"
    " never change (dead); and how many pictures a unit fires on, in effect."
)


def score(*, units: Ask, minimum: float = MINIMUM) -> dict[str, Score]:
    """Return ``mono_lift``, ``mono_fg_minus_bg``, ``mono_dead`` and ``mono_effective_n``.

    Lifts are at most 1, at chance 0; their means are over units that fire on ``minimum`` examples or more, in effect.
    The dead are counted, not estimated: their interval has a width only where seeds differ. The effective number is
    between 1 and N, over all units that are not dead.

    An observation is the measure and what one example adds to it (``_units``), so that their mean is the measure.
    Nothing is returned for a model without a last layer to read units from.
    """
    asked = units()
    if asked is None:
        return {}
    n = len(asked.activations_NU)
    found, moved_NU = lifts(asked.activations_NU, asked.whole_ND, minimum)
    return {
        "mono_lift": observed(found.lift_U, moved_NU, chance=0.0),
        "mono_fg_minus_bg": observed(*preferences(asked, minimum), chance=0.0),
        "mono_dead": one_cell(np.full(n, found.dead)),
        "mono_effective_n": effective(asked.activations_NU, found),
    }


def observed(value_U: FloatArray, moved_NU: FloatArray, chance: float) -> Score:
    """Return the mean over known units, seen from each example; NaN when there is none."""
    known_U = ~np.isnan(value_U)
    if not known_U.any():
        return one_cell(np.full(len(moved_NU), np.nan), chance)
    return one_cell((value_U + moved_NU)[:, known_U].mean(1), chance)


def effective(activations_NU: FloatArray, found: Scores) -> Score:
    """Return the mean effective number of examples, u^2 / v, seen from each example; dead units are left out."""
    a_NU = (activations_NU - activations_NU.min(0)).astype(np.float64)
    live_U = found.effective_U > 0
    unknown_NU, u_U, v_U = np.full(a_NU.shape, np.nan), a_NU.mean(0), (a_NU**2).mean(0)
    once_NU = np.divide(a_NU, u_U, out=unknown_NU.copy(), where=live_U)
    twice_NU = np.divide(a_NU**2, v_U, out=unknown_NU.copy(), where=live_U)
    number_U = np.where(live_U, found.effective_U, np.nan)
    return observed(number_U, number_U * (2 * once_NU - 1 - twice_NU), chance=float("nan"))
