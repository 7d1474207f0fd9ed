"""What a trained model says of examples, and how well it does."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldmark.training.fit import Triples, move

Floats = npt.NDArray[np.float32]
Keep = npt.NDArray[np.bool_] | Floats


class Prediction(NamedTuple):
    """Answers for N examples, in their order."""

    probabilities_NK: Floats
    masks_Nhw: Floats
    labels_N: npt.NDArray[np.int64]  # true labels, as the batches gave them
    groups_N: npt.NDArray[np.int64]


def predict(
    module: nn.Module,
    batches: Triples,
    *,
    keep_Nhw: Keep | None = None,
    device: str = "cpu",
) -> Prediction:
    """Return probabilities and masks; ``keep_Nhw``, if given, replaces every example's own mask.

    Tokens to keep go to the device at once and answers stay there until the last one: a GPU is waited for twice.
    """
    module.to(device).eval()
    forced_Nhw = None if keep_Nhw is None else torch.from_numpy(keep_Nhw.astype(np.float32)).to(device)
    parts: list[tuple[Tensor, ...]] = []
    start = 0
    with torch.inference_mode():
        for batch, labels_B, groups_B in batches:
            stop = start + len(labels_B)
            forced_Bhw = None if forced_Nhw is None else forced_Nhw[start:stop]
            output = module(move(batch, device), forced_Bhw)
            parts.append((output.logits_BK.float().softmax(1), output.mask_Bhw.float(), labels_B, groups_B))
            start = stop
    return Prediction(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def kept_probability(
    module: nn.Module, batches: Callable[[], Triples], *, device: str = "cpu"
) -> Callable[[Keep], Floats]:
    """Return the function from tokens to keep (N, h, w) to the probability (N,) of each example's label.

    Kept tokens count at weight 1, the others not at all, whatever the model's own mask.
    """

    def probability(keep_Nhw: Keep) -> Floats:
        prediction = predict(module, batches(), keep_Nhw=keep_Nhw, device=device)
        return prediction.probabilities_NK[np.arange(len(prediction.labels_N)), prediction.labels_N]

    return probability


def measures(prediction: Prediction) -> dict[str, float]:
    """Return loss (mean cross-entropy), accuracy and worst-group accuracy, for the curves of training.

    >>> answers = Prediction(np.array([[0.5, 0.5], [0.0, 1.0]], np.float32), np.ones((2, 1, 1), np.float32),
    ...                      np.array([0, 0]), np.array([0, 1]))
    >>> {name: round(value, 3) for name, value in measures(answers).items() if name != "val_loss"}
    {'val_accuracy': 0.5, 'val_worst_group': 0.0}
    """
    right_N = prediction.probabilities_NK.argmax(1) == prediction.labels_N
    label_N = prediction.probabilities_NK[np.arange(len(right_N)), prediction.labels_N]
    return {
        "val_loss": float(-np.log(label_N.clip(np.finfo(np.float32).tiny)).mean()),
        "val_accuracy": float(right_N.mean()),
        "val_worst_group": min(
            float(right_N[prediction.groups_N == group].mean()) for group in np.unique(prediction.groups_N)
        ),
    }
