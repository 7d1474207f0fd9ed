"""What AnchorNet's paper claims of its patches (arXiv 2206.03367), measured on one example at a time."""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Batch, Score
from fieldmark.layers.evidence import class_evidence
from fieldmark.layers.patches import cover, every_box
from fieldmark.layers.pooling import true_mask
from fieldmark.models._anchor import AnchorNet, Found, grids

Batches = Iterable[tuple[Batch, Tensor, Tensor]]
Observed = dict[str, npt.NDArray[np.float64]]

GREYED = 4  # patches along each axis that are greyed out, evenly spaced: the evidence is compared with what follows

MEANINGS = {
    "anchor_outside_change": (
        "How far the features of the best location move, relative to their length, when everything outside its patch"
        " turns grey; 0 if the location is a function of its patch alone."
    ),
    "anchor_box_object": "Share of the best patch that is object; chance is a patch of that size at a random place.",
    "anchor_box_gain": "Share of the best patch that is object, less the mean over all patches of that size.",
    "anchor_evidence_correlation": (
        "Correlation, over patches of a picture, of a patch's evidence with how much the logit falls when the patch"
        " turns grey."
    ),
}
HIGHER_IS_BETTER = {
    "anchor_outside_change": False, "anchor_box_object": True, "anchor_box_gain": True,
    "anchor_evidence_correlation": True,
}  # fmt: skip


def measures(module: AnchorNet, batches: Batches) -> dict[str, Score]:
    """Return the measures named in ``MEANINGS``; ``rows`` count the examples in order.

    Raises:
        FieldmarkError: the examples have no true mask.
    """
    return scores(gather(module, batches, lambda batch, labels_B: observe(module, batch)))


def gather(module: nn.Module, batches: Batches, look: Callable[[Batch, Tensor], dict[str, Tensor]]) -> Observed:
    """Return what ``look`` says of each batch on the module's device, one row an example."""
    device = next(module.parameters()).device
    module.eval()
    seen = []
    with torch.inference_mode():
        for batch, labels_B, _ in batches:
            object_Bhw, key_B = (None if part is None else part.to(device) for part in (batch.object_Bhw, batch.key_B))
            found = look(Batch(batch.x_BCHW.to(device), object_Bhw, key_B), labels_B.to(device))
            seen.append({name: value.double().cpu().numpy() for name, value in found.items()})
    return {name: np.concatenate([one[name] for one in seen]) for name in seen[0]}


def per_example(values_N: npt.NDArray[np.float64], chance: float = float("nan")) -> Score:
    """Return the mean of one observation an example."""
    count = len(values_N)
    return Score(values_N, np.full(count, "all"), np.arange(count), chance=chance, weights={"all": 1.0})


def scores(observed: Observed) -> dict[str, Score]:
    """Return the measures of what ``observe`` saw."""
    box_N, chance_N = observed["anchor_box_object"], observed["anchor_box_chance"]
    return {
        "anchor_outside_change": per_example(observed["anchor_outside_change"]),
        "anchor_box_object": per_example(box_N, chance=float(chance_N.mean())),
        "anchor_box_gain": per_example(box_N - chance_N, chance=0.0),
        "anchor_evidence_correlation": per_example(observed["anchor_evidence_correlation"], chance=0.0),
    }


def observe(anchor: AnchorNet, batch: Batch) -> dict[str, Tensor]:
    """Return an observation (B,) for each measure."""
    found = anchor.find(batch.x_BCHW)
    box_B, chance_B = object_shares(anchor, found, batch)
    return {
        "anchor_box_object": box_B,
        "anchor_box_chance": chance_B,
        "anchor_outside_change": outside_change(anchor, found, batch.x_BCHW),
        "anchor_evidence_correlation": evidence_correlation(anchor, found, batch.x_BCHW),
    }


def object_shares(anchor: AnchorNet, found: Found, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the share of object in the best patch, and its mean over all patches of the same size."""
    boxes_Nd2, scale_N = found.candidates
    cover_Nhw = cover(boxes_Nd2[None], *grids(batch.x_BCHW, anchor.token))[0]
    share_BN = true_mask(batch).float().flatten(1) @ cover_Nhw.flatten(1).mT / cover_Nhw.sum((1, 2))
    best_B1 = found.index_Bk[:, :1]
    same_BN = (scale_N[best_B1] == scale_N).float()
    return share_BN.gather(1, best_B1).squeeze(1), (share_BN * same_BN).sum(1) / same_BN.sum(1)


def outside_change(anchor: AnchorNet, found: Found, x_BCHW: Tensor) -> Tensor:
    """Return how far the last scale's best features move when what is outside their patch turns grey."""
    boxes_N22 = _last_boxes(anchor, x_BCHW)
    best_B = _last_evidence(anchor, found).argmax(1)
    inside_BHW = pixels(boxes_N22[best_B], x_BCHW)
    alone = anchor.net(x_BCHW * inside_BHW[:, None])[-1]
    before_BD, after_BD = (
        scale.features_BD__.flatten(2).take_along_dim(best_B[:, None, None], 2).squeeze(2)
        for scale in (found.scales[-1], alone)
    )
    moved_B: Tensor = torch.linalg.vector_norm(after_BD - before_BD, dim=1)
    length_B: Tensor = torch.linalg.vector_norm(before_BD, dim=1)
    return moved_B / length_B


def evidence_correlation(anchor: AnchorNet, found: Found, x_BCHW: Tensor) -> Tensor:
    """Return Pearson's correlation (B,) of patches' evidence with what greying them costs; NaN for fewer than three."""
    boxes_N22 = _last_boxes(anchor, x_BCHW)
    which = _spread(*(anchor.net.geometries[-1].locations(side) for side in x_BCHW.shape[2:])).to(x_BCHW.device)
    answer_B1 = found.scales[-1].logits_BK.argmax(1, keepdim=True)
    before_B = found.scales[-1].logits_BK.gather(1, answer_B1).squeeze(1)
    drops = []
    for place in which:
        greyed_BCHW = x_BCHW * ~pixels(boxes_N22[place].expand(len(x_BCHW), 2, 2), x_BCHW)[:, None]
        drops.append(before_B - anchor.net(greyed_BCHW)[-1].logits_BK.gather(1, answer_B1).squeeze(1))
    drop_BP, said_BP = torch.stack(drops, 1), _last_evidence(anchor, found)[:, which]
    if len(which) < 3:
        return torch.full_like(before_B, torch.nan)
    return correlation(said_BP.double(), drop_BP.double())


def correlation(a_BP: Tensor, b_BP: Tensor) -> Tensor:
    """Return Pearson's correlation of rows; NaN where one of them is constant.

    >>> rising = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    >>> correlation(rising, torch.tensor([[5.0, 3.0, 1.0], [1.0, 1.0, 1.0]])).tolist()
    [-1.0, nan]
    """
    a_BP, b_BP = (one - one.mean(1, keepdim=True) for one in (a_BP, b_BP))
    return (a_BP * b_BP).sum(1) / (a_BP.square().sum(1) * b_BP.square().sum(1)).sqrt()


def pixels(box_B22: Tensor, x_BCHW: Tensor) -> Tensor:
    """Return the pixels (B, H, W) inside one box of each picture."""
    places = (torch.arange(side, device=x_BCHW.device) for side in x_BCHW.shape[2:])
    rows_BH, columns_BW = (
        (place >= box_B22[:, axis, :1]) & (place < box_B22[:, axis, 1:]) for axis, place in enumerate(places)
    )
    return rows_BH[:, :, None] & columns_BW[:, None]


def _last_boxes(anchor: AnchorNet, x_BCHW: Tensor) -> Tensor:
    return every_box(anchor.net.geometries[-1], x_BCHW.shape[2:], x_BCHW.device)


def _last_evidence(anchor: AnchorNet, found: Found) -> Tensor:
    """Return the last scale's evidence (B, N) for its own answer."""
    last = found.scales[-1]
    return class_evidence(last.features_BD__, anchor.net.weights[-1], last.logits_BK.argmax(1)).flatten(1)


def _spread(height: int, width: int) -> Tensor:
    """Return the numbers of at most GREYED x GREYED locations of a map, evenly spaced.

    >>> _spread(2, 9).tolist()
    [0, 3, 5, 8, 9, 12, 14, 17]
    """
    y, x = (torch.linspace(0, side - 1, min(side, GREYED)).round().long() for side in (height, width))
    return (y[:, None] * width + x).flatten()
