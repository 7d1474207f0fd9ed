"""Infidelity: does the map say how far the answer falls when tokens are taken away (arXiv 1901.09392)? By captum.

Random sets of tokens are removed from the model as it runs; the map's sum over a set should be the fall of the logit it
explains, up to one factor for each picture, so that a mask can be asked as well as an attribution.
"""

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
    import torch
    from captum.metrics import infidelity

    removed_DBhw = torch.from_numpy(removals(key_B, attribution_Bhw.shape[1:], share, draws))
    ones_Bhw, answered = torch.ones(removed_DBhw.shape[1:], dtype=torch.float64), {}

    def answer(keep_Bhw: "Tensor") -> "Tensor":
        name = keep_Bhw.numpy().tobytes()
        if name not in answered:  # all maps are asked about the same sets
            answered[name] = torch.from_numpy(np.asarray(logit(keep_Bhw.numpy()), np.float64))
        return answered[name]

    def left(map_Bhw: "Tensor", normalize: bool = True) -> FloatArray:
        sets = iter(removed_DBhw)

        def perturb(whole_Bhw: "Tensor") -> "tuple[Tensor, Tensor]":
            removed_Bhw = next(sets)
            return removed_Bhw, whole_Bhw - removed_Bhw

        found_B = infidelity(
            answer, perturb, ones_Bhw, map_Bhw, n_perturb_samples=draws, max_examples_per_batch=len(map_Bhw),
            normalize=normalize,
        )  # fmt: skip
        return np.asarray(found_B.numpy(), np.float64)

    own_B, uniform_B = left(torch.from_numpy(attribution_Bhw)), left(ones_Bhw)
    fall_B = left(torch.zeros_like(ones_Bhw), normalize=False)  # nothing explained: the squared fall itself
    fall_B = np.where(fall_B > 0, fall_B, np.nan)
    return {
        "infidelity": one_cell(own_B, mean_known(uniform_B)),
        "infidelity_relative": one_cell(own_B / fall_B, mean_known(uniform_B / fall_B)),
    }


def removals(key_B: npt.NDArray[np.int64], shape: tuple[int, ...], share: float, draws: int) -> FloatArray:
    """Return (D, B, h, w) 1 where a token is removed, else 0; an example's sets depend on its key alone."""
    sets = [np.random.default_rng(int(key) % 2**64).random((draws, *shape)) < share for key in key_B]
    return np.stack(sets, axis=1).astype(np.float64)
