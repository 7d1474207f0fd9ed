"""What explanation measures are shown of a model: maps, and what it answers when tokens are hidden from it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fieldmark.core.contracts import Score
from fieldmark.layers.evidence import class_evidence, magnitude
from fieldmark.loading.keys import keys
from fieldmark.training.fit import move
from fieldmark.training.predict import Prediction, kept_probability
from stages._cell import View


def shown(view: View, module: nn.Module, batches: Sequence[Any], said: Prediction, example_ids: Any) -> dict[str, Any]:
    """Return the arguments that every measure takes beside the model's masks and the true ones."""
    on_features = view.plugin.TRAINS_ON == "features"
    answers_again = on_features and not hasattr(module, "phases")  # elsewhere each answer is a pass of the backbone
    return {
        "magnitude_Bhw": magnitudes(view, module, batches),
        "key_B": keys(example_ids),
        "probability": kept_probability(module, lambda: batches, device=view.device) if answers_again else None,
        "evidence_Bhw": evidence(module, batches, said) if answers_again else None,
    }


def magnitudes(view: View, module: nn.Module, batches: Sequence[Any]) -> Any:
    """Return the length (N, h, w) of each token's feature vector, as float64; None where a model does not tell."""
    if view.plugin.TRAINS_ON == "features":
        return torch.cat([magnitude(batch.x_BCHW) for batch, _, _ in batches]).double().numpy()
    with torch.inference_mode():
        told = [module(move(batch, view.device)).extras.get("norm") for batch, _, _ in batches]
    return None if told[0] is None else torch.cat(told).double().cpu().numpy()


def evidence(module: nn.Module, batches: Sequence[Any], said: Prediction) -> Any:
    """Return each token's score (N, h, w) for the class the model names; None if its answer is not linear in tokens."""
    linear = getattr(module, "linear", None)
    if not isinstance(linear, nn.Linear):
        return None
    named_N = torch.from_numpy(said.probabilities_NK.argmax(1))
    x_NCHW = torch.cat([batch.x_BCHW for batch, _, _ in batches])
    return class_evidence(x_NCHW, linear.weight.detach().cpu(), named_N).double().numpy()


def own(view: View, module: nn.Module, batches: Sequence[Any]) -> dict[str, tuple[Score, dict[str, Any]]]:
    """Return what only this model measures, with what it means; most models measure nothing of their own."""
    measures = getattr(view.plugin, "measures", None)
    found = measures(module, batches) if measures else {}
    return {
        name: (
            score,
            {"higher_is_better": view.plugin.HIGHER_IS_BETTER.get(name), "meaning": view.plugin.MEANINGS[name]},
        )
        for name, score in found.items()
    }
