"""What a model that is made of other models asks of them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fieldmark.core.contracts import Output
from fieldmark.core.errors import FieldmarkError


def in_one_go(name: str, module: nn.Module) -> None:
    """Refuse a model that is trained in several phases: within another one, parts of it would stay as they were drawn.

    Raises:
        FieldmarkError: it is.
    """
    said = getattr(module, "phases", None)
    if said and len(found := [phase or "the rest" for phase, _ in said()]) > 1:
        raise FieldmarkError(
            f"'{name}' with these options is trained in several phases ({', '.join(found)}) and can't be part of "
            "another model: name one that is trained in one go (of ifam, coupling joint or detached)."
        )


def refuse_options(model: str, part: str, options: Mapping[str, Any] | None) -> None:
    """Refuse options of a part that no word names.

    Raises:
        FieldmarkError: there are some.
    """
    if options:
        raise FieldmarkError(
            f"{model} got {part}_options and no {part} to take them: name the {part}, or leave them out."
        )


def lr_factors_of(net: nn.Module) -> dict[str, float]:
    """Return the learning-rate factors of a part that is called ``net``, by the names that its parameters get there."""
    factors: dict[str, float] = getattr(net, "lr_factors", {})
    return {f"net.{prefix}": factor for prefix, factor in factors.items()}


def learned_from(output: Output) -> dict[str, Tensor]:
    """Return the extras that training reads; the others, maps among them, are of what a part was shown."""
    return {name: value for name, value in output.extras.items() if name in ("energy", "auxiliary_logits")}
