"""All of a training: one fit, or what else the model and the objective ask for before and after it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from fieldmark.core.store import fingerprint
from fieldmark.training.checkpoint import History
from fieldmark.training.fit import Batches, Objective, Rows, Triples
from fieldmark.training.phases import named, phases
from fieldmark.training.predict import predict
from fieldmark.training.refit import Floats, Ints, refit


@runtime_checkable
class Draws(Protocol):
    """An objective that says what an epoch shows."""

    def rows(self, draw: np.random.Generator) -> Ints:
        """Return rows of the training part, in the order in which they are seen."""


@runtime_checkable
class Twice(Protocol):
    """An objective that learns from the errors of a first round."""

    first_epochs: int

    def __call__(self, logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor, /) -> Tensor:
        """Return the first round's loss."""

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
    objective: Callable[[], Objective],
    lessons: Callable[[Rows | None], Batches],
    *,
    fit: Callable[..., History],
    seen: Callable[[], Triples],
    held_out: Callable[[], Triples],
    epochs: int,
    checkpoint: Path,
    key: str,
    log: Callable[[dict[str, float]], None] | None = None,
    device: str = "cpu",
    progress: str = "",
) -> dict[str, History]:
    """Train ``module`` in place, phase by phase, each as the objective wants it.

    Args:
        module: as it is born.
        objective: builds an objective; each phase has its own, as it may have a state.
        lessons: gives the batches of each epoch, made of the rows that are drawn; all rows once if none are drawn.
        fit: ``training.fit.fit`` with everything settled but what stands here.
        seen: gives the training part as it stands: in the order of the rows, without augmentation.
        held_out: gives the validation part.
        epochs: of each phase; a first round has its own number.
        checkpoint: file that outlives a killed training; each phase and round has its own beside it.
        key: fingerprint of all that training depends on.
        log: is told each row of the rounds that count, under the phase's names.
        device: ``cpu`` or ``cuda``.
        progress: what the progress bars say; none if empty.

    Returns:
        For each phase the measures per epoch of the round that counts; a last layer made anew comes after them.
    """
    histories = {}
    for phase, part in phases(module):
        fitted = partial(
            fit,
            log=log and partial(_log, log, phase),
            device=device,
            progress=f"{progress} {phase}" if progress else "",
        )
        rounds = Rounds(part, lessons, fitted, seen, held_out, device)
        histories[phase] = rounds.run(objective(), epochs, checkpoint.with_stem(checkpoint.stem + phase), key + phase)
    return histories


class Rounds(NamedTuple):
    """One phase: a fit, or what else its objective asks for."""

    part: nn.Module
    lessons: Callable[[Rows | None], Batches]
    fit: Callable[..., History]
    seen: Callable[[], Triples]
    held_out: Callable[[], Triples]
    device: str

    def run(self, objective: Objective, epochs: int, checkpoint: Path, key: str) -> History:
        """Train the part in place; return the measures of the round that counts."""
        if isinstance(objective, Twice):
            wrong_N = self.first(objective, checkpoint.with_stem(f"{checkpoint.stem}-first"), key)
            objective, key = objective.second(wrong_N), fingerprint([key, wrong_N.tolist()])
        history = self.fitted(objective, epochs=epochs, checkpoint=checkpoint, key=key)
        if isinstance(objective, Refits):
            chosen = self.seen if objective.refit_on == "train" else self.held_out
            refit(self.part, objective.last_layer, self.seen(), chosen(), device=self.device)
        return history

    def first(self, objective: Twice, checkpoint: Path, key: str) -> npt.NDArray[np.bool_]:
        """Return which training examples a first round gets wrong, and leave the part as it was before."""
        start = {name: value.clone() for name, value in self.part.state_dict().items()}
        self.fitted(objective, epochs=objective.first_epochs, checkpoint=checkpoint, key=key, log=None)
        answers = predict(self.part, self.seen(), device=self.device)
        self.part.load_state_dict(start)
        return np.asarray(answers.probabilities_NK.argmax(1) != answers.labels_N)

    def fitted(self, objective: Objective, **settled: Any) -> History:
        """Fit the part once, to the rows that the objective wants seen."""
        rows = objective.rows if isinstance(objective, Draws) else None
        return self.fit(self.part, self.lessons(rows), objective=objective, **settled)


def _log(log: Callable[[dict[str, float]], None], phase: str, row: dict[str, float]) -> None:
    log(named(row, phase))
