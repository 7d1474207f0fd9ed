"""Deep feature reweighting (arXiv 2204.02937): what ERM has learnt to see is good enough, its last layer is not."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldmark.core.errors import FieldmarkError
from fieldmark.objectives._shared import CrossEntropy, Ints, Targets, balanced

#: Inverse strengths of the L1 penalty that the paper chooses from.
STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
Part = Literal["train", "val"]
Floats = npt.NDArray[np.float64]


class Seen(NamedTuple):
    """N examples as the last layer sees them."""

    x_NC: Floats  # standardised
    labels_N: Ints
    groups_N: Ints

    def rows(self, taken: Ints) -> "Seen":
        """Return some of them."""
        return Seen(self.x_NC[taken], self.labels_N[taken], self.groups_N[taken])


class Layer(NamedTuple):
    """A linear layer."""

    weight_KC: Floats
    bias_K: Floats


class LastLayer(CrossEntropy):
    """Cross-entropy; after it the last layer anew: L1 logistic regression, averaged over group-balanced subsets."""

    def __init__(self, train: Targets, refit_on: Part, subsets: int, strengths: Sequence[float]) -> None:
        super().__init__()
        self.seed, self.subsets, self.strengths = train.seed, subsets, tuple(strengths)
        self.refit_on: Part = refit_on

    def last_layer(self, x_NC: Floats, labels_N: Ints, groups_N: Ints) -> Layer:
        """Return the new layer.

        One half of the examples chooses the penalty of fits on the other, by worst-group accuracy (of equals the
        strongest penalty); then all are fitted.

        Args:
            x_NC: standardised inputs of the layer.
            labels_N: in 0..K-1; every class occurs.
            groups_N: of the same examples.

        Raises:
            FieldmarkError: a group has a single example, which can't be in both halves.
        """
        draw, seen = np.random.default_rng(self.seed), Seen(x_NC, labels_N, groups_N)
        fitting, judging = (seen.rows(half) for half in _halves(groups_N, draw))
        subset = fitting.rows(balanced(fitting.groups_N, draw))
        by_strength = {strength: l1_logistic(subset, strength) for strength in self.strengths}
        best = max(by_strength, key=lambda strength: (_worst_group(by_strength[strength], judging), -strength))
        fits = [l1_logistic(seen.rows(balanced(groups_N, draw)), best) for _ in range(self.subsets)]
        return Layer(np.mean([fit.weight_KC for fit in fits], 0), np.mean([fit.bias_K for fit in fits], 0))


def l1_logistic(seen: Seen, strength: float) -> Layer:
    """Return an L1 logistic regression as a linear layer.

    Two classes: half the score for one, minus half for the other, so that softmax gives the regression's probability.
    More classes: one against the rest each; the greatest score decides, softmax of the scores is no fitted probability.

    Args:
        seen: what to fit.
        strength: inverse strength of the penalty.

    >>> x_NC = np.array([[-2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    >>> layer = l1_logistic(Seen(x_NC, np.array([0, 0, 1, 1]), np.zeros(4, int)), 1.0)
    >>> np.sign(layer.weight_KC).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    from sklearn.linear_model import LogisticRegression

    classes = np.unique(seen.labels_N)
    layers = []
    for number in classes if len(classes) > 2 else classes[1:]:
        model = LogisticRegression(C=strength, l1_ratio=1, solver="liblinear", random_state=0, max_iter=10_000)
        model.fit(seen.x_NC, seen.labels_N == number)
        layers.append((model.coef_[0], model.intercept_[0]))
    weight_KC, bias_K = np.stack([weight for weight, _ in layers]), np.array([bias for _, bias in layers])
    if len(classes) > 2:
        return Layer(weight_KC, bias_K)
    return Layer(np.concatenate([-weight_KC, weight_KC]) / 2, np.concatenate([-bias_K, bias_K]) / 2)


def _halves(groups_N: Ints, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """Return the rows of two halves that share every group as evenly as can be."""
    members = [draw.permutation(np.flatnonzero(groups_N == group)) for group in np.unique(groups_N)]
    if min(len(rows) for rows in members) < 2:
        raise FieldmarkError(
            "dfr found a group with a single example, and needs two of each: take a larger part, or a correlation "
            "below 1."
        )
    return np.concatenate([rows[::2] for rows in members]), np.concatenate([rows[1::2] for rows in members])


def _worst_group(layer: Layer, seen: Seen) -> float:
    right_N = (seen.x_NC @ layer.weight_KC.T + layer.bias_K).argmax(1) == seen.labels_N
    return min(float(right_N[seen.groups_N == group].mean()) for group in np.unique(seen.groups_N))
