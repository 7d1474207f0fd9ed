"""What is claimed of attention masks, measured on frozen features: attacks through the mask, and masks of attributes.

An attack is one step of the fast gradient sign method (arXiv 1412.6572) on features, not on pixels: each value moves by
a percentage of the root mean square of its example's features. The gradient goes through the transformed mask; in a
transfer attack through the plain one, so a gain that does no more than hide the gradient is lost there.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.core.contracts import Batch, Score
from fieldmark.layers.attention_mask import AttentionHeads

Triples = Iterable[tuple[Batch, Tensor, Tensor]]
Answers = Callable[[Tensor], Tensor]  # features (B, C, h, w) -> (B, K)
Floats = npt.NDArray[np.float64]

STEPS = (1, 2, 4, 8)  # percent
ATTRIBUTE_STEP = 4

_ATTACKED = "Accuracy when every feature moved by {} % of their root mean square, the worst way for the label"
MEANINGS = {
    **{f"fgsm_{step}": _ATTACKED.format(step) + "." for step in STEPS},
    **{f"fgsm_transfer_{step}": _ATTACKED.format(step) + " as the plain mask has it." for step in STEPS},
    "mask_distance_classes": "Mean cosine distance between the masks of different classes.",
    "mask_distance_attributes": "Mean cosine distance between the masks of different attributes.",
    "mask_distance_reseeded": "Mean cosine distance between two masks of one attribute, learnt from different weights.",
    "attribute_accuracy": "Mean over attributes of their accuracy.",
    "attribute_accuracy_balanced": "Mean over attributes, and over having and not having them, of the accuracy.",
    "attribute_fgsm_4": "Balanced accuracy of attributes when features moved by 4 %, the worst way for their sum.",
    "attribute_pointing": "Share of the masks' weight that lies on the object, for attributes that are seen there.",
}
#: A distance between masks is good for nothing by itself.
HIGHER_IS_BETTER = {name: True for name in MEANINGS if not name.startswith("mask_distance")}


def of_attacks(answers: Answers, plainly: Answers | None, batches: Triples, device: torch.device) -> dict[str, Score]:
    """Return accuracy under attack: ``fgsm_<percent>``, and ``fgsm_transfer_<percent>`` if there are plain answers."""
    aims = {"fgsm": answers, "fgsm_transfer": plainly}
    right: dict[str, list[Tensor]] = {}
    for batch, labels_B, _ in batches:
        x_BCHW, labels_B = batch.x_BCHW.to(device), labels_B.to(device)
        for prefix, aim in aims.items():
            if aim is None:
                continue
            way_BCHW = worst_way(aim, F.cross_entropy, x_BCHW, labels_B)
            for step in STEPS:
                with torch.no_grad():
                    said_B = answers(x_BCHW + step / 100 * way_BCHW).argmax(1)
                right.setdefault(f"{prefix}_{step}", []).append(said_B == labels_B)
    return {name: plain(column(parts)) for name, parts in right.items()}


def of_distance(heads: AttentionHeads, batches: Triples, device: torch.device) -> dict[str, Score]:
    """Return how far the masks of different classes are from each other; nothing where there is one class."""
    if heads.linear.out_features == 1:
        return {}
    with torch.no_grad():
        masks = (heads(batch.x_BCHW.to(device)).mask_BKChw for batch, _, _ in batches)
        return {"mask_distance_classes": plain(column([apart(cosine_distances(mask)) for mask in masks]))}


def of_attributes(
    heads: AttentionHeads, count: int, of_object: int, batches: Triples, device: torch.device
) -> dict[str, Score]:
    """Return accuracy, robustness, masks' distances and pointing of attribute heads; nothing of unknown attributes.

    Args:
        heads: those of ``count`` attributes, then perhaps their twins.
        count: attributes, as many as the batches' columns.
        of_object: how many of them, the first ones, are seen on the object.
        batches: with attributes.
        device: where to compute.
    """
    columns: dict[str, list[Tensor]] = {}
    for batch, _, _ in batches:
        if batch.attributes_BA is None:
            return {}
        x_BCHW, truth_BA = batch.x_BCHW.to(device), batch.attributes_BA.to(device)
        way_BCHW = worst_way(lambda x: heads(x).answers_BK[:, :count], _told_apart, x_BCHW, truth_BA)
        with torch.no_grad():
            seen, moved = heads(x_BCHW), heads(x_BCHW + ATTRIBUTE_STEP / 100 * way_BCHW)
        distance_BKK = cosine_distances(seen.mask_BKChw)
        found = {
            "truth": truth_BA,
            "said": seen.answers_BK[:, :count] > 0,
            "attacked": moved.answers_BK[:, :count] > 0,
            "apart": apart(distance_BKK[:, :count, :count]),
            "reseeded": distance_BKK[:, :count, count:].diagonal(dim1=1, dim2=2).mean(1),
        }
        if of_object and batch.object_Bhw is not None:
            found["pointing"] = pointing(seen.weight_BKChw[:, :of_object], batch.object_Bhw.to(device))
        for name, value in found.items():
            columns.setdefault(name, []).append(value)
    return _attribute_scores({name: column(parts) for name, parts in columns.items()})


def _told_apart(answers_BA: Tensor, truth_BA: Tensor, reduction: str) -> Tensor:
    """Return the cross-entropy of known attributes; always their sum."""
    lost_BA = F.binary_cross_entropy_with_logits(answers_BA, truth_BA.nan_to_num(0.0), reduction="none")
    return (lost_BA * ~truth_BA.isnan()).sum()


def _attribute_scores(found: dict[str, Floats]) -> dict[str, Score]:
    truth_NA = found["truth"]
    scores = {
        "attribute_accuracy": per_attribute(found["said"], truth_NA, balanced=False),
        "attribute_accuracy_balanced": per_attribute(found["said"], truth_NA, balanced=True),
        "attribute_fgsm_4": per_attribute(found["attacked"], truth_NA, balanced=True),
        "mask_distance_attributes": plain(found["apart"]),
    }
    if not np.isnan(found["reseeded"]).all():
        scores["mask_distance_reseeded"] = plain(found["reseeded"])
    if "pointing" in found:
        scores["attribute_pointing"] = plain(found["pointing"])
    return scores


def worst_way(answers: Answers, loss: Callable[..., Tensor], x_BCHW: Tensor, truth_B: Tensor) -> Tensor:
    """Return each example's root mean square, with the sign in which each of its values raises its loss.

    >>> x, truth = torch.tensor([[3.0, 4.0]]), torch.tensor([0])
    >>> worst_way(lambda x: x, F.cross_entropy, x, truth).tolist()
    [[-3.535533905029297, 3.535533905029297]]
    """
    with torch.inference_mode(False), torch.enable_grad():
        moved = x_BCHW.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(answers(moved), truth_B, reduction="sum"), moved)
    scale = x_BCHW.square().mean(tuple(range(1, x_BCHW.ndim)), keepdim=True).sqrt()
    return scale * gradient.sign()


def cosine_distances(mask_BKChw: Tensor) -> Tensor:
    """Return (B, K, K): 1 less the cosine of each pair of masks.

    >>> cosine_distances(torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 2, 1, 1)).tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """
    unit_BKD = F.normalize(mask_BKChw.float().flatten(2), dim=2)
    return 1 - unit_BKD @ unit_BKD.mT


def apart(distance_BKK: Tensor) -> Tensor:
    """Return (B,) the mean over pairs of different heads; NaN for one head alone.

    >>> apart(torch.tensor([[[0.0, 0.5], [0.5, 0.0]]])).tolist()
    [0.5]
    """
    heads = distance_BKK.shape[1]
    between_B = distance_BKK.sum((1, 2)) - distance_BKK.diagonal(dim1=1, dim2=2).sum(1)
    return between_B / (heads * (heads - 1) or torch.nan)


def pointing(weight_BKChw: Tensor, object_Bhw: Tensor) -> Tensor:
    """Return (B,) the share of the heads' weight that lies on the object; NaN where there is none of either.

    >>> pointing(torch.tensor([[[[[0.1, 0.3]]]]]), torch.tensor([[[0.0, 1.0]]])).tolist()
    [0.75]
    """
    weight_BKhw = weight_BKChw.float().sum(2)
    on_BK = (weight_BKhw * object_Bhw[:, None]).sum((2, 3)) / weight_BKhw.sum((2, 3))
    return torch.where(object_Bhw.sum((1, 2)) > 0, on_BK.mean(1), torch.nan)


def column(parts: Sequence[Tensor]) -> Floats:
    """Return the batches' values as one array."""
    return torch.cat([part.detach() for part in parts]).double().cpu().numpy()


def plain(values_N: Floats) -> Score:
    """Return the mean over examples as a score."""
    return Score(values_N, np.full(len(values_N), "all"), np.arange(len(values_N)), weights={"all": 1.0})


def per_attribute(said_NA: Floats, truth_NA: Floats, *, balanced: bool) -> Score:
    """Return accuracy per attribute, a cell each, or two: for examples that have it and for those that don't.

    Unknown attributes are left out; so is a cell of which there is no example.

    >>> said, truth = np.array([[1.0], [1.0], [1.0], [0.0]]), np.array([[1.0], [1.0], [0.0], [np.nan]])
    >>> [per_attribute(said, truth, balanced=how).value.__round__(2) for how in (False, True)]
    [0.67, 0.5]
    """
    rows, numbers = np.nonzero(~np.isnan(truth_NA))
    truth = truth_NA[rows, numbers]
    cells = [f"{number:02d}{f'={value:.0f}' if balanced else ''}" for number, value in zip(numbers, truth, strict=True)]
    right = (said_NA[rows, numbers] == truth).astype(np.float64)
    return Score(right, np.array(cells, dtype=np.str_), rows, chance=0.5 if balanced else float("nan"))
