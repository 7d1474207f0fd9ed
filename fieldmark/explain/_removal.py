"""Tokens are taken away one after another: in which order, and what becomes of the answer.

A token that is taken away weighs 0: that is the baseline of every curve here.
"""

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, Probability


def random_orders(key_B: npt.NDArray[np.int64], h: int, w: int) -> FloatArray:
    """Return a permutation of each example's tokens (B, h, w) that depends on its key alone."""
    orders = [np.random.default_rng(int(key) % 2**64).permutation(h * w) for key in key_B]
    return np.array(orders, np.float64).reshape(len(key_B), h, w)


def removal_ranks(importance_Bhw: FloatArray, random_Bhw: FloatArray) -> npt.NDArray[np.int64]:
    """Return (B, h, w) when each token goes, 0 first: by importance, equal ones by ``random_Bhw``.

    >>> removal_ranks(np.array([[[0.5, 0.1, 0.1]]]), np.array([[[0.0, 2.0, 1.0]]]))
    array([[[2, 1, 0]]])
    """
    importance_Bn, random_Bn = (value.reshape(len(value), -1) for value in (importance_Bhw, random_Bhw))
    order_Bn = np.lexsort((random_Bn, importance_Bn), axis=1)
    return np.argsort(order_Bn, axis=1).reshape(importance_Bhw.shape)


def strides(tokens: int, steps: int) -> npt.NDArray[np.int64]:
    """Return how many tokens are gone at each point (S,): one more each time, or in ``steps`` even strides.

    >>> strides(4, 25), strides(64, 4)
    (array([0, 1, 2, 3, 4]), array([ 0, 16, 32, 48, 64]))
    """
    return np.unique(np.linspace(0, tokens, min(tokens, steps) + 1).round().astype(np.int64))


def answers(
    rank_Bhw: npt.NDArray[np.int64], weights_Bhw: FloatArray, probability: Probability, steps: int
) -> FloatArray:
    """Return (S, B) the label's probability while tokens go in the order of their rank, both ends included."""
    gone_S = strides(int(np.prod(rank_Bhw.shape[1:])), steps)
    return np.stack([probability(weights_Bhw * (rank_Bhw >= gone)) for gone in gone_S]).astype(np.float64)


def areas(values_SB: FloatArray, tokens: int, steps: int) -> FloatArray:
    """Return (B,) the trapezoid area under each example's curve over the fraction of tokens that are gone.

    >>> areas(np.array([[1.0], [0.5], [0.0]]), 2, 25)
    array([0.5])
    """
    return np.asarray(np.trapezoid(values_SB, strides(tokens, steps) / tokens, axis=0))


def curve(values_SB: FloatArray, tokens: int, steps: int, *, said: str = "removed", chance: float) -> Score:
    """Return a curve as a score: a cell for each point, so weighted that the value is the mean area under it.

    >>> score = curve(np.array([[1.0], [0.5], [0.0]]), 2, 25, chance=0.0)
    >>> score.value, score.means()
    (0.5, {'removed:0': 1.0, 'removed:0.5': 0.5, 'removed:1': 0.0})
    """
    S, B = values_SB.shape
    x_S = strides(tokens, steps) / tokens
    names = np.array([f"{said}:{x:.4g}" for x in x_S])
    halves_S = np.diff(x_S) / 2
    weights_S = np.append(halves_S, 0) + np.insert(halves_S, 0, 0)
    weights = dict(zip(names.tolist(), weights_S.tolist(), strict=True))
    return Score(values_SB.ravel(), np.repeat(names, B), np.tile(np.arange(B), S), chance=chance, weights=weights)
