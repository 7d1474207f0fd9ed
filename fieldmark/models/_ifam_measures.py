"""What only iFAM can be asked: does it need its parts, and has it any."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fieldmark.core.contracts import Batch, Score

if TYPE_CHECKING:
    from fieldmark.models.ifam import Ifam

MEANINGS = {
    "part_removal_accuracy": "Accuracy when one part's patches are hidden too, the mean over parts.",
    "part_removal_worst": "Accuracy when the part that is missed most is hidden too; near chance, one part decides.",
    "empty_mask_share": "Share of pictures with no visible patch; these get the same answer, whatever they show.",
    "parts_used": "Share of the model's parts that have a patch in a picture, the mean over pictures.",
}
HIGHER_IS_BETTER = {
    "part_removal_accuracy": True, "part_removal_worst": True, "empty_mask_share": False, "parts_used": True,
}  # fmt: skip


def measures(module: "Ifam", batches: Iterable[tuple[Batch, Tensor, Tensor]]) -> dict[str, Score]:
    """Return the measures named in ``MEANINGS``; ``rows`` count the examples in order."""
    module = module.eval()
    count, device = len(module.first.floor_K), module.first.prototype_KD.device
    poorer = [module.without(part) for part in range(count)]
    right, empty, used = [], [], []
    with torch.inference_mode():
        for batch, labels_B, _ in batches:
            inputs, labels_B = Batch(batch.x_BCHW.to(device)), labels_B.to(device)
            answers_KB = torch.stack([one(inputs).logits_BK.argmax(1) for one in poorer])
            part_BN = module.parts(inputs).flatten(1)
            right.append((answers_KB == labels_B).cpu())
            empty.append((part_BN == count).all(1).cpu())
            used.append(torch.stack([(part_BN == part).any(1) for part in range(count)], 1).float().mean(1).cpu())
    right_KN = torch.cat(right, 1).double().numpy()
    examples = right_KN.shape[1]
    rows, cells = np.tile(np.arange(examples), count), np.repeat([f"part {part}" for part in range(count)], examples)
    removal = Score(right_KN.ravel(), cells, rows, weights={f"part {part}": 1.0 for part in range(count)})
    return {
        "part_removal_accuracy": removal,
        "part_removal_worst": removal._replace(combine="worst"),
        "empty_mask_share": _mean(torch.cat(empty)),
        "parts_used": _mean(torch.cat(used)),
    }


def _mean(values_N: Tensor) -> Score:
    count = len(values_N)
    return Score(values_N.double().numpy(), np.full(count, "all"), np.arange(count), weights={"all": 1.0})
