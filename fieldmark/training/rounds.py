"""All of a training: one fit, or what else the objective asks for before and after it."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import nn

from fieldmark.core.store import fingerprint
from fieldmark.layers.saliency_head import remembering
from fieldmark.training.checkpoint import History
from fieldmark.training.fit import Batches, Objective, Rows, Triples
from fieldmark.training.predict import Prediction, predict
from fieldmark.training.refit import Floats, Ints, last_linear, pooled, refit


@runtime_checkable
class Draws(Protocol):
    """An objective that says what an epoch shows."""

    def rows(self, draw: np.random.Generator) -> Ints:
        """Return rows of the training part, in the order in which they are seen."""


@runtime_checkable
class Twice(Protocol):
    """An objective that learns from the errors of a first round."""

    first_epochs: int

    def second(self, wrong_N: npt.NDArray[np.bool_]) -> Objective:
        """Return the objective of the round that counts."""


@runtime_checkable
class Refits(Protocol):
    """An objective that makes the last layer anew when training has ended."""

    refit_on: Literal["train", "val"]

    def last_layer(self, x_NC: Floats, labels_N: Ints, groups_N: Ints) -> tuple[Floats, Floats]:
        """Return weights (K, C) and bias (K,) for standardised inputs."""


def train(
    module: nn.Module,
    objective: Objective,
    lessons: Callable[[Rows | None], Batches],
    *,
    fit: Callable[..., History],
    seen: Callable[[], Triples],
    held_out: Callable[[], Triples],
    epochs: int,
    checkpoint: Path,
    key: str,
    device: str = "cpu",
) -> History:
    """Train ``module`` in place as the objective wants it.

    Args:
        module: as it is born: a second round starts from there again.
        objective: from an objective's ``build``; used for one training, as it may have a state.
        lessons: gives the batches of each epoch, made of the rows that are drawn; all rows once if none are drawn.
        fit: ``training.fit.fit`` with everything settled but what stands here.
        seen: gives the training part as it stands: in the order of the rows, without augmentation.
        held_out: gives the validation part.
        epochs: of the round that counts.
        checkpoint: file that outlives a killed training; each round has its own.
        key: fingerprint of all that training depends on.
        device: ``cpu`` or ``cuda``.

    Returns:
        The measures per epoch of the round that counts; a last layer made anew comes after them.

    Raises:
        FieldmarkError: training broke, or the objective makes a last layer anew and there is not one.
    """
    with remembering(module):
        if isinstance(objective, Refits):
            # refused before hours of training, not after
            pooled(module, last_linear(module), islice(seen(), 1), device)
        if isinstance(objective, Twice):
            start = {name: value.clone() for name, value in module.state_dict().items()}
            settled = {"epochs": objective.first_epochs, "checkpoint": checkpoint.with_stem(f"{checkpoint.stem}-first")}
            fit(module, lessons(_rows(objective)), objective=objective, key=key, log=None, **settled)
            wrong_N = _wrong(predict(module, seen(), device=device))
            module.load_state_dict(start)
            objective, key = objective.second(wrong_N), fingerprint([key, wrong_N.tolist()])
        history = fit(
            module, lessons(_rows(objective)), objective=objective, epochs=epochs, checkpoint=checkpoint, key=key
        )
        if isinstance(objective, Refits):
            fitted = seen if objective.refit_on == "train" else held_out
            refit(module, objective.last_layer, seen(), fitted(), device=device)
    return history


def _wrong(answers: Prediction) -> npt.NDArray[np.bool_]:
    return np.asarray(answers.probabilities_NK.argmax(1) != answers.labels_N)


def _rows(objective: Objective) -> Rows | None:
    return objective.rows if isinstance(objective, Draws) else None
