"""What AnchorNet's paper claims of patches and of leaving early (arXiv 2206.03367), on one example at a time."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldmark.core.contracts import Batch, Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.early_exit import confidence, leave, step_costs
from fieldmark.layers.evidence import magnitude
from fieldmark.layers.hashing import splitmix64
from fieldmark.layers.macs import cost
from fieldmark.models import _anchor_measures
from fieldmark.models._anchor_measures import Batches, gather, per_example
from fieldmark.models._combiners import MEANINGS as COMBINERS
from fieldmark.models._combiners import combiners
from fieldmark.models._looks import Looks

if TYPE_CHECKING:
    from fieldmark.models.anchor_exit import AnchorExit

PERCENT = (50, 60, 70, 80, 90, 95, 99)  # thresholds of the accuracy-cost curve, the same at every step
MOST_STEPS = 9
RIVALS = {
    "random": "a patch at a random place",
    "centre": "the patch in the middle",
    "norm": "the patch with the longest feature vector",
}

MEANINGS = {
    **_anchor_measures.MEANINGS,
    **{f"exit_accuracy_{n}": f"Accuracy when every picture leaves after step {n}." for n in range(1, MOST_STEPS + 1)},
    **{
        f"exit_cost_{n}": f"Millions of multiply-adds when every picture leaves after step {n}."
        for n in range(1, MOST_STEPS + 1)
    },
    **{f"early_accuracy_{p}": f"Accuracy when pictures leave once the sum is {p} % sure." for p in PERCENT},
    **{
        f"early_cost_{p}": f"Millions of multiply-adds a picture when they leave once the sum is {p} % sure."
        for p in PERCENT
    },
    "early_over_all": "Accuracy with the model's own thresholds, less that of looking at every patch always.",
    "early_cost_share": "Multiply-adds with the model's own thresholds, as a share of looking at every patch always.",
    "patch_accuracy_top": "Accuracy of the patch classifier on the patch with the most evidence.",
    **{f"patch_accuracy_{rival}": f"Accuracy of the patch classifier on {what}." for rival, what in RIVALS.items()},
    **{
        f"patch_top_over_{rival}": f"Accuracy on the best patch, less that on {what}." for rival, what in RIVALS.items()
    },
    **COMBINERS,
}
HIGHER_IS_BETTER = {name: not any(word in name for word in ("cost", "outside", "nll")) for name in MEANINGS}


def measures(module: "AnchorExit", batches: Batches) -> dict[str, Score]:
    """Return the measures named in ``MEANINGS`` that the number of steps allows; ``rows`` count the examples in order.

    Raises:
        FieldmarkError: the examples have no true mask or no keys.
    """
    sides: list[tuple[int, ...]] = []

    def look(batch: Batch, labels_B: Tensor) -> dict[str, Tensor]:
        sides[:] = [tuple(batch.x_BCHW.shape[1:])]
        logits_BSK, looks = module.each(batch.x_BCHW)
        patches = rivals(module, looks, batch, labels_B)
        half_B = splitmix64(keys(batch)) & 1
        there_BS = torch.cat([torch.ones_like(looks.there_Bk[:, :1]), looks.there_Bk], 1)
        told = {"logits": logits_BSK, "there": there_BS, "label": labels_B, "half": half_B}
        return told | patches | _anchor_measures.observe(module.patches.anchor, batch)

    observed = gather(module, batches, look)
    logits_NSK, label_N = observed["logits"], observed["label"].astype(np.int64)
    found = _anchor_measures.scores(observed)
    found |= exits(logits_NSK, label_N, costs(module, sides[0]), module.thresholds)
    top_N = observed["patch_accuracy_top"]
    found["patch_accuracy_top"] = per_example(top_N)
    for rival in RIVALS:
        found[f"patch_accuracy_{rival}"] = per_example(observed[f"patch_accuracy_{rival}"])
        found[f"patch_top_over_{rival}"] = per_example(top_N - observed[f"patch_accuracy_{rival}"], chance=0.0)
    combined = combiners(logits_NSK, observed["there"] > 0, label_N, observed["half"])
    return found | {name: per_example(values_N) for name, values_N in combined.items()}


def exits(
    logits_NSK: npt.NDArray[np.float64], label_N: npt.NDArray[np.int64], cost_S: npt.NDArray[np.float64],
    thresholds: tuple[float, ...],
) -> dict[str, Score]:  # fmt: skip
    """Return accuracy and cost of leaving at a step, at the same threshold at every step, and at the model's own."""
    summed_NSK = torch.from_numpy(logits_NSK).cumsum(1)
    confidence_NS = confidence(summed_NSK)
    right_NS = (summed_NSK.argmax(2).numpy() == label_N[:, None]).astype(np.float64)
    row_N, last = np.arange(len(label_N)), len(cost_S) - 1
    found = {}
    for step in range(last + 1):
        found[f"exit_accuracy_{step + 1}"] = per_example(right_NS[:, step])
        found[f"exit_cost_{step + 1}"] = per_example(np.full(len(row_N), cost_S[step]))
    for percent in PERCENT:
        step_N = leave(confidence_NS, [percent / 100] * last).numpy()
        found[f"early_accuracy_{percent}"] = per_example(right_NS[row_N, step_N])
        found[f"early_cost_{percent}"] = per_example(cost_S[step_N])
    step_N = leave(confidence_NS, thresholds).numpy()
    found["early_over_all"] = per_example(right_NS[row_N, step_N] - right_NS[:, last], chance=0.0)
    found["early_cost_share"] = per_example(cost_S[step_N] / cost_S[last])
    return found


def costs(module: "AnchorExit", shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return the cost of leaving at each step, in millions of multiply-adds, for pictures of a shape (C, H, W)."""
    patches, device = module.patches, next(module.parameters()).device
    small = Batch(torch.zeros(1, shape[0], patches.side, patches.side, device=device))
    whole_1CHW = torch.zeros(1, *shape, device=device)
    once = [cost(module.resized.net, small), cost(patches.anchor.net, whole_1CHW), cost(patches.net, small)]
    first, propose, patch = (one.macs / 1e6 for one in once)
    return np.array(step_costs(len(module.thresholds) + 1, first, propose, patch))


def rivals(module: "AnchorExit", looks: Looks, batch: Batch, labels_B: Tensor) -> dict[str, Tensor]:
    """Return whether the patch classifier is right on the best patch and on patches found without evidence (B,)."""
    candidates, last = looks.found.candidates, looks.found.scales[-1]
    count = last.features_BD__[0, 0].numel()
    before = len(candidates.scale_N) - count  # candidates of smaller scales
    height, width = last.features_BD__.shape[2:]
    where = {
        "random": splitmix64(keys(batch)).remainder(count),
        "centre": torch.full_like(labels_B, (height // 2) * width + width // 2),
        "norm": magnitude(last.features_BD__).flatten(1).argmax(1),
    }
    right = {"patch_accuracy_top": looks.logits_BkK[:, 0].argmax(1) == labels_B}
    for rival, place_B in where.items():
        said = module.patches.classify(batch.x_BCHW, candidates, before + place_B[:, None])
        right[f"patch_accuracy_{rival}"] = said.logits_BK.argmax(1) == labels_B
    return right


def keys(batch: Batch) -> Tensor:
    """Return the examples' keys.

    Raises:
        FieldmarkError: there are none.
    """
    if batch.key_B is None:
        raise FieldmarkError("anchor_exit's measures got examples without keys: a batch needs key_B.")
    return batch.key_B
