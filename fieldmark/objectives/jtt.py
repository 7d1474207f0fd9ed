"""Just Train Twice: what a short first training gets wrong is shown more often in the second (arXiv 2107.09044)."""

import numpy as np
import numpy.typing as npt
from torch import nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.objectives._shared import CrossEntropy, Ints, Targets

SUPERVISION = "none"  # of training; the paper chooses both options by the groups of validation


def build(train: Targets, *, first_epochs: int = 1, upsample: int = 20) -> nn.Module:
    """Return the first round's objective, cross-entropy; ``second`` gives that of the round that starts again.

    Args:
        train: the training part.
        first_epochs: T, epochs of the first round; too many, and a model that fits everything has no errors left.
        upsample: lambda, how often the second round shows an error in each of its epochs, which are longer for it.
    """
    return Jtt(len(train.labels_N), first_epochs, upsample)


class Jtt(CrossEntropy):
    """Cross-entropy, and what to do with its errors."""

    def __init__(self, examples: int, first_epochs: int, upsample: int) -> None:
        super().__init__()
        self.examples, self.first_epochs, self.upsample = examples, first_epochs, upsample

    def second(self, wrong_N: npt.NDArray[np.bool_]) -> nn.Module:
        """Return the objective of the second round.

        Args:
            wrong_N: which training examples the first round's model gets wrong.

        Raises:
            FieldmarkError: none, or more than half: the errors then say nothing of a shortcut.
        """
        wrong = int(wrong_N.sum())
        if not 0 < wrong <= self.examples / 2:
            raise FieldmarkError(
                f"jtt's first round gets {wrong} of {self.examples} training examples wrong, where some and at most "
                f"half are needed: change first_epochs (now {self.first_epochs}; more epochs, fewer errors)."
            )
        return Upsampled(np.where(wrong_N, self.upsample, 1))


class Upsampled(CrossEntropy):
    """Cross-entropy on a training part in which some examples are there several times."""

    def __init__(self, times_N: Ints) -> None:
        super().__init__()
        self.times_N = times_N

    def rows(self, draw: np.random.Generator) -> Ints:
        """Return what an epoch shows: each example as often as it is there, in random order.

        >>> sorted(Upsampled(np.array([1, 3])).rows(np.random.default_rng(0)).tolist())
        [0, 1, 1, 1]
        """
        return draw.permutation(np.repeat(np.arange(len(self.times_N)), self.times_N))
