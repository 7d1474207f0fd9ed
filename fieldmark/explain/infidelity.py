"""Infidelity: does the map say how far the answer falls when tokens are taken away (arXiv 1901.09392)? By captum.

Random sets of tokens are removed from the model as it runs; the map's sum over a set should be the fall of the logit it
explains, up to one factor for each picture, so that a mask can be asked as well as an attribution.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, Probability, mean_known, one_cell

if TYPE_CHECKING:
    from torch import Tensor

HIGHER_IS_BETTER = False
MEANING = (
    "Expected squared distance between the fall of the named class's logit when random tokens are removed and the map's"
    " sum over them, at the best scale; relative: as a share of the squared fall (0 = the map explains all of it)."
)


def score(
    attribution_Bhw: FloatArray,
    *,
    key_B: npt.NDArray[np.int64],
    logit: Probability | None,
    share: float = 0.5,
    draws: int = 20,
) -> dict[str, Score]:
    """Return ``infidelity`` (squared logits) and ``infidelity_relative`` in [0, 1]; chance is a uniform map's.

    Args:
        attribution_Bhw: the map, sign and scale as its maker gave them.
        key_B: seeds of what is removed.
        logit: weights (B, h, w) of the tokens -> logit (B,) of the class named; without it nothing is returned.
        share: chance of each token to be removed.
        draws: sets of tokens for each example.
    """
    if logit is None:
        return {}
    answered: dict[bytes, FloatArray] = {}

    def answer(keep_Bhw: FloatArray) -> FloatArray:  # all maps are asked about the same sets
        name = keep_Bhw.tobytes()
        if name not in answered:
            answered[name] = np.asarray(logit(keep_Bhw), np.float64)
        return answered[name]

    left = partial(unexplained, answer, removals(key_B, attribution_Bhw.shape[1:], share, draws))
    own_B, uniform_B = left(attribution_Bhw), left(np.ones(attribution_Bhw.shape))
    fall_B = left(np.zeros(attribution_Bhw.shape), normalize=False)  # nothing is explained: the squared fall itself
    fall_B = np.where(fall_B > 0, fall_B, np.nan)
    return {
        "infidelity": one_cell(own_B, mean_known(uniform_B)),
        "infidelity_relative": one_cell(own_B / fall_B, mean_known(uniform_B / fall_B)),
    }


def unexplained(
    answer: Probability, removed_DBhw: FloatArray, map_Bhw: FloatArray, *, normalize: bool = True
) -> FloatArray:
    """Return captum's infidelity (B,) of a map when these sets of tokens are removed, one after another."""
    import torch
    from captum.metrics import infidelity

    sets = iter(torch.from_numpy(removed_DBhw))

    def perturb(whole_Bhw: "Tensor") -> "tuple[Tensor, Tensor]":
        removed_Bhw = next(sets)
        return removed_Bhw, whole_Bhw - removed_Bhw

    found_B = infidelity(
        lambda keep_Bhw: torch.from_numpy(answer(keep_Bhw.numpy())), perturb,
        torch.ones(map_Bhw.shape, dtype=torch.float64), torch.from_numpy(map_Bhw),
        n_perturb_samples=len(removed_DBhw), max_examples_per_batch=len(map_Bhw), normalize=normalize,
    )  # fmt: skip
    return np.asarray(found_B.numpy(), np.float64)


def removals(key_B: npt.NDArray[np.int64], shape: tuple[int, ...], share: float, draws: int) -> FloatArray:
    """Return (D, B, h, w) 1 where a token is removed, else 0; an example's sets depend on its key alone."""
    sets = [np.random.default_rng(int(key) % 2**64).random((draws, *shape)) < share for key in key_B]
    return np.stack(sets, axis=1).astype(np.float64)
