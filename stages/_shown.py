"""What explanation measures can ask about a model beside its maps: what it answers when something is changed."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import nn

from fieldmark.core.contracts import Score
from fieldmark.layers.evidence import class_evidence, magnitude
from fieldmark.loading.keys import keys
from fieldmark.training.fit import move
from fieldmark.training.predict import Prediction, kept_probability
from fieldmark.training.probing import forced_answers, kept_logit
from stages._cell import View
from stages._maps import OWN, Known, Maps
from stages._units import units

OF_ANY_MAP = {"map_Bhw", "attribution_Bhw"}


def asked_about(score: Callable[..., Any], maps: Sequence[str]) -> Sequence[str]:
    """Return the maps that a measure is asked about: one that names no map is about the model and its mask, once."""
    return maps if OF_ANY_MAP & set(signature(score).parameters) else [OWN]


def shown(view: View, maps: Maps, recipes: Any) -> Mapping[str, Any]:
    """Return what measures can ask for, whatever the map."""
    module, batches, said, device = maps.module, maps.batches, maps.said, view.device
    answers_again = maps.on_features and not maps.looks_again  # elsewhere each answer is a pass of the backbone
    forced = forced_answers(module, lambda: batches, device=device)
    makers: dict[str, Callable[[], Any]] = {
        "mask_Bhw": lambda: said.masks_Nhw.astype(np.float64),
        "object_BHW": lambda: view.object_masks(recipes),
        "magnitude_Bhw": lambda: magnitudes(view, module, batches),
        "key_B": lambda: keys(recipes["example_id"]),
        "label_B": lambda: said.labels_N,
        "probability": lambda: kept_probability(module, lambda: batches, device=device) if answers_again else None,
        "logit": lambda: kept_logit(module, lambda: batches, maps.named_N, device=device) if answers_again else None,
        "evidence_Bhw": lambda: evidence(module, batches, said) if answers_again else None,
        "answers": lambda: forced,
        "answers_replaced": lambda: None if maps.looks_again else forced,  # it sees the picture again, not features
        "parts_BPhw": lambda: parts(view, module, batches),
        "units": lambda: units(view, module, batches, recipes),
    }
    return Known(makers)


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


def parts(view: View, module: Any, batches: Sequence[Any]) -> Any:
    """Return which tokens belong to which of a model's parts (N, P, h, w); None if it has none."""
    if not hasattr(module, "num_parts"):
        return None
    part_Nhw = torch.cat([module.parts(move(batch, view.device)) for batch, _, _ in batches]).cpu().numpy()
    return part_Nhw[:, None] == np.arange(module.num_parts)[:, None, None]
