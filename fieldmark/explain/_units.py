"""The units that a classifier reads, beside how their examples look: whole, without background, without object.

A unit's lift is a statistic of all examples at once, and has no observation of its own for each. What a bootstrap by
source needs is how far each example moves it: the infinitesimal jackknife (Efron 1982, doi 10.1137/1.9781611970319),
the derivative by the example's weight, N times. These sum to zero, so that a measure plus what each example adds is one
observation an example whose mean is the measure itself. The units' minima, and which units fire on enough examples,
stay those of all examples. Measuring anew in each draw would lean high instead: an example drawn twice, or a source's
other pictures, look alike by construction (on wildstamps, ``mono_fg_minus_bg`` of the plain network would be 0.047 in
the mean draw, not 0.032). Intervals by the jackknife are too wide if anything (Efron & Stein 1981, doi
10.1214/aos/1176345462).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fieldmark.explain._monosemanticity import FloatArray, Scores, accumulate, headroom, unit


class Units(NamedTuple):
    """N examples, U units, D dimensions, K classes."""

    activations_NU: FloatArray  # as the last layer reads them
    weight_KU: FloatArray  # of the last layer
    whole_ND: FloatArray  # how each example looks,
    foreground_ND: FloatArray  # its object alone,
    background_ND: FloatArray  # its background alone


Ask = Callable[[], Units | None]  # None: the model has no linear layer that reads one number a unit and example


class Lifts(NamedTuple):
    """How far units fire on what looks alike, beyond chance."""

    found: Scores
    moved_NU: FloatArray  # what each example adds; each column sums to zero; NaN where the lift is unknown


def lifts(activations_NU: FloatArray, embeddings_ND: FloatArray, minimum: float) -> Lifts:
    """Return each unit's lift over chance and how far each example moves it."""
    sums = accumulate(activations_NU, embeddings_ND)
    found, p_ND, n = sums.scores(minimum), unit(embeddings_ND), sums.n
    a_NU = activations_NU.astype(np.float64) - sums.least_U
    pairs_U = np.where(np.isnan(found.score_U), np.nan, sums.u_U**2 - sums.v_U)
    alike_NU = p_ND @ sums.w_UD.T - a_NU  # with the other examples that the unit fires on
    score_NU = 2 * n * a_NU * (alike_NU - found.score_U * (sums.u_U - a_NU)) / pairs_U
    # chance is the score of a unit that is 1 for all
    chance_N = 2 * (p_ND @ sums.q_D - 1 - found.chance * (n - 1)) / max(n - 1, 1)
    room = headroom(found.chance)
    return Lifts(found, score_NU / room - np.outer(chance_N, 1 - found.score_U) / room**2)


def preferences(units: Units, minimum: float) -> tuple[FloatArray, FloatArray]:
    """Return each unit's lift on objects less that on backgrounds (U,), and how far each example moves it (N, U)."""
    object_, scene = (lifts(units.activations_NU, one, minimum) for one in (units.foreground_ND, units.background_ND))
    return object_.found.lift_U - scene.found.lift_U, object_.moved_NU - scene.moved_NU
