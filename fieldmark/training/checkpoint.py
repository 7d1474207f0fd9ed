"""Weights and half-finished training in safetensors files: whole or absent, and never a pickle."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from fieldmark.core import store
from fieldmark.core.errors import FieldmarkError

History = list[dict[str, float]]


def write_weights(path: Path, module: nn.Module) -> None:
    """Write a module's parameters and buffers; the same values give the same bytes."""
    with store.atomic(path) as temporary:
        save_file(_plain(module.state_dict()), temporary)


def read_weights(path: Path, module: nn.Module) -> None:
    """Fill a module with the weights in a file.

    Raises:
        FieldmarkError: the file is not safetensors, or holds another module's weights.
    """
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise FieldmarkError(
            f"{path} does not hold the weights of this {type(module).__name__} ({' '.join(str(error).split())[:200]}): "
            "train again, or use the options it was trained with."
        ) from error


def save(path: Path, module: nn.Module, optimiser: Optimizer, history: History, key: str) -> None:
    """Write all that the epochs after ``history`` depend on."""
    tensors = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{name}": tensor for name, tensor in state.items()}
    with store.atomic(path) as temporary:
        save_file(_plain(tensors), temporary, {"key": key, "history": json.dumps(history)})


def resume(path: Path, module: nn.Module, optimiser: Optimizer, key: str) -> History:
    """Restore the module and the optimiser in place and return the history; empty if ``path`` holds no ``key``.

    Raises:
        FieldmarkError: the file is not a checkpoint.
    """
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as opened:
            if opened.metadata()["key"] != key:  # other data, options or code: nothing to go on with
                return []
            history: History = json.loads(opened.metadata()["history"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        raise FieldmarkError(f"{path} is not a checkpoint ({error}): delete it and train again.") from error
    module.load_state_dict(_under("module/", tensors))
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in _under("optimiser/", tensors).items():
        index, slot = name.split("/")
        state.setdefault(int(index), {})[slot] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return history


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lay tensors out plainly on the CPU, as safetensors wants them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
