"""Whether a unit fires on things that look alike: monosemanticity of any layer, in one pass over the examples.

The score of a unit is the mean cosine of the embeddings of all pairs of examples, each pair weighed by the product of
its activations above the unit's minimum (MonoScore, arXiv 2504.02821). Written out, the sum over pairs is a square of
sums less its diagonal (arXiv 2602.12403), so that it takes O(N) and shards add up. N examples, U units, D dimensions.

The sums are kept about the minimum, not about zero: with ``a`` the activations, ``m`` their minimum and ``p`` the unit
embeddings, u = sum(a - m) is the paper's S1 - N m, v = sum((a - m)^2) is S2 - 2 m S1 + N m^2 and w = sum((a - m) p) is
V - m Q. When the minimum falls they move with it. Nothing then cancels, however far from zero a unit works.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fieldmark.core.errors import FieldmarkError

FloatArray = npt.NDArray[np.float64]
CHUNK = 2**23  # numbers held at a time, in double precision: 64 MiB
MINIMUM = 10.0  # examples that a unit must fire on, in effect, for its score to be known


class Scores(NamedTuple):
    """What is known of each unit."""

    score_U: FloatArray  # mean cosine, in [-1, 1]; NaN = too few examples
    lift_U: FloatArray  # the score over chance: 0 = fires on anything, 1 = on one thing alone
    effective_U: FloatArray  # how many examples the unit fires on, in effect: between 1 and N; 0 where dead
    chance: float  # mean cosine of any two examples
    dead: float  # share of units that say the same of all examples
    ignored: float  # share of units that fire, yet on too few examples


class Sums(NamedTuple):
    """What one pass keeps of the examples it saw, of whatever part of them, in whatever order."""

    n: int
    least_U: FloatArray  # the smallest activation
    u_U: FloatArray  # sums over examples of: activations above the smallest,
    v_U: FloatArray  # their squares,
    w_UD: FloatArray  # the embeddings, weighed by them,
    q_D: FloatArray  # the embeddings

    def merge(self, other: Self) -> Self:
        """Return the sums over the examples of both.

        >>> left = accumulate(np.array([[1.0], [3.0]]), np.eye(2))
        >>> right = accumulate(np.array([[0.0]]), np.array([[0.0, 2.0]]))
        >>> both = left.merge(right)
        >>> both.least_U.tolist(), both.u_U.tolist(), both.v_U.tolist(), both.w_UD.tolist()
        ([0.0], [4.0], [10.0], [[1.0, 3.0]])
        """
        least_U = np.minimum(self.least_U, other.least_U)
        one, two = self.about(least_U), other.about(least_U)
        return self._replace(
            n=one.n + two.n, least_U=least_U, u_U=one.u_U + two.u_U, v_U=one.v_U + two.v_U, w_UD=one.w_UD + two.w_UD,
            q_D=one.q_D + two.q_D,
        )  # fmt: skip

    def about(self, least_U: FloatArray) -> Self:
        """Return the same sums about a minimum that lies lower, or is the same."""
        fall_U = self.least_U - least_U
        if not fall_U.any():
            return self
        v_U = self.v_U + fall_U * (2 * self.u_U + self.n * fall_U)
        w_UD = self.w_UD + fall_U[:, None] * self.q_D
        return self._replace(least_U=least_U, u_U=self.u_U + self.n * fall_U, v_U=v_U, w_UD=w_UD)

    def scores(self, minimum: float = MINIMUM) -> Scores:
        """Return each unit's score; units that fire on fewer than ``minimum`` examples, in effect, are unknown.

        The first of three units fires on two examples that look alike; the others say the same of all.

        >>> looks = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> found = accumulate(np.array([[1.0, 5.0, 0.0], [1.0, 5.0, 0.0], [0.0, 5.0, 0.0]]), looks).scores(minimum=2)
        >>> found.score_U.tolist(), found.effective_U.tolist(), round(found.chance, 3), round(found.dead, 3)
        ([1.0, nan, nan], [2.0, 0.0, 0.0], 0.333, 0.667)
        """
        effective_U = np.divide(self.u_U**2, self.v_U, out=np.zeros_like(self.u_U), where=self.v_U > 0)
        pairs_U = self.u_U**2 - self.v_U
        known_U = (effective_U >= minimum) & (pairs_U > 0)
        squares_U = np.einsum("ud,ud->u", self.w_UD, self.w_UD)
        score_U = np.divide(squares_U - self.v_U, pairs_U, out=np.full_like(self.u_U, np.nan), where=known_U)
        pairs = self.n * (self.n - 1)
        chance = float((self.q_D @ self.q_D - self.n) / pairs) if pairs else float("nan")
        dead_U = self.u_U == 0
        dead, ignored = float(dead_U.mean()), float((~known_U & ~dead_U).mean())
        return Scores(score_U, (score_U - chance) / headroom(chance), effective_U, chance, dead, ignored)


def accumulate(activations_NU: Any, embeddings_ND: npt.NDArray[np.floating[Any]]) -> Sums:
    """Return the sums over examples, in double precision, a part at a time; ``merge`` adds more examples.

    Args:
        activations_NU: one row an example, as an array or any scipy.sparse matrix. They need not be non-negative: what
            counts is how far they lie above the unit's smallest.
        embeddings_ND: of any length but zero; their direction is what counts.

    Raises:
        FieldmarkError: not as many embeddings as activations, none at all, a number that is not finite, or an embedding
            of length zero.
    """
    from scipy.sparse import issparse

    (n, units), examples = activations_NU.shape, len(embeddings_ND)
    if n != examples or n == 0:
        raise FieldmarkError(f"found activations of {n} and embeddings of {examples} examples: give one each.")
    sparse = issparse(activations_NU)
    stored = activations_NU.nnz / n if sparse else units
    rows = max(1, int(CHUNK / max(stored, embeddings_ND.shape[1])))
    whole: Sums | None = None
    activations_NU = activations_NU.tocsr() if sparse else activations_NU
    for start in range(0, n, rows):
        p_nD = unit(embeddings_ND[start : start + rows])
        part = (_sparse if sparse else _dense)(activations_NU[start : start + rows], p_nD)
        whole = part if whole is None else whole.merge(part)
    assert whole is not None  # n > 0
    return whole


def headroom(chance: float) -> float:
    """Return how far above chance a score can lie; NaN where all embeddings are the same but for rounding."""
    return 1 - chance if 1 - chance > 1e-12 else float("nan")


def unit(embeddings_ND: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Return embeddings of length 1, in double precision.

    Raises:
        FieldmarkError: an embedding has no direction.

    >>> unit(np.array([[3.0, 4.0]], np.float32)).tolist()
    [[0.6, 0.8]]
    """
    p_ND = np.asarray(embeddings_ND, np.float64)
    length_N = np.linalg.norm(p_ND, axis=1)
    lost = int((~((length_N > 0) & np.isfinite(length_N))).sum())
    if lost:
        raise FieldmarkError(
            f"{lost} of {len(p_ND)} embeddings are zero or not finite and have no direction: leave these examples out."
        )
    return np.asarray(p_ND / length_N[:, None])


def _dense(activations_nU: npt.NDArray[np.floating[Any]], p_nD: FloatArray) -> Sums:
    a_nU = np.array(activations_nU, np.float64)
    _finite(a_nU)
    least_U = a_nU.min(0)
    a_nU -= least_U
    return Sums(len(p_nD), least_U, a_nU.sum(0), np.einsum("nu,nu->u", a_nU, a_nU), a_nU.T @ p_nD, p_nD.sum(0))


def _sparse(activations_nU: Any, p_nD: FloatArray) -> Sums:
    """Return the sums over what is stored; what isn't is zero."""
    a_Un = activations_nU.T.tocsr().astype(np.float64)  # a unit's examples together
    a_Un.sum_duplicates()
    _finite(a_Un.data)
    stored_U = np.diff(a_Un.indptr)
    least_U = np.asarray(a_Un.min(axis=1).toarray(), np.float64).ravel()
    base_U = np.where(stored_U == len(p_nD), least_U, 0.0)  # else zeros that are not stored would move too
    a_Un.data -= np.repeat(base_U, stored_U)
    v_U = np.asarray(a_Un.multiply(a_Un).sum(axis=1)).ravel()
    sums = Sums(len(p_nD), base_U, np.asarray(a_Un.sum(axis=1)).ravel(), v_U, a_Un @ p_nD, p_nD.sum(0))
    return sums.about(least_U)


def _finite(values: FloatArray) -> None:
    if not np.isfinite(values).all():
        raise FieldmarkError("an activation is not finite: leave its example out, or mend the layer.")
