"""Max-sensitivity: how far does the map move when what the model sees hardly does (arXiv 1901.09392)? By captum."""

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from fieldmark.core.contracts import Score
from fieldmark.explain._tokens import FloatArray, one_cell

if TYPE_CHECKING:
    from torch import Tensor

HIGHER_IS_BETTER = None  # a map that is the same everywhere, whatever is seen, is the steadiest
MEANING = (
    "Largest change of the map, relative to its length, when noise is added to what the model sees;"
    " 0 = the map stays as it is."
)


def score(
    attribution_Bhw: FloatArray,
    *,
    disturbed_map: Callable[[float, int], FloatArray] | None,
    radius: float = 0.1,
    draws: int = 10,
) -> dict[str, Score]:
    """Return ``max_sensitivity``, 0 or more.

    Args:
        attribution_Bhw: the map, sign and scale as its maker gave them.
        disturbed_map: radius, number of the draw -> the map (B, h, w) of the same question, with noise in what the
            model sees; without it nothing is returned.
        radius: largest noise, as a fraction of the root mean square of what is seen of an example.
        draws: of the noise; the largest change of all counts.
    """
    if disturbed_map is None:
        return {}
    import torch
    from captum.metrics import sensitivity_max

    numbers = count(1)

    def explain(
        seen: "Tensor | tuple[Tensor]",
    ) -> "tuple[Tensor]":  # what captum takes for the inputs is the draw's number
        draw = int(seen[0] if isinstance(seen, torch.Tensor) else seen[0][0])
        return (torch.from_numpy(disturbed_map(radius, draw) if draw else attribution_Bhw),)

    def perturb(seen: object, _: float) -> "Tensor":
        return torch.full((len(attribution_Bhw),), float(next(numbers)))

    found_B = sensitivity_max(
        explain, torch.zeros(len(attribution_Bhw)), perturb, perturb_radius=radius, n_perturb_samples=draws,
        max_examples_per_batch=len(attribution_Bhw),
    )  # fmt: skip
    return {"max_sensitivity": one_cell(np.asarray(found_B.numpy(), np.float64))}
