"""The training loop. Read it from top to bottom."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fieldmark.core.contracts import Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.training.checkpoint import History, resume, save

Triples = Iterable[tuple[Batch, Tensor, Tensor]]  # (batch, labels_B, groups_B)
Batches = Callable[[int], Triples]  # of an epoch
Objective = Callable[[Tensor, Tensor, Tensor], Tensor]  # (logits_BK, labels_B, groups_B) -> scalar
Rows = Callable[[np.random.Generator], npt.NDArray[np.int64]]  # the rows of the training part that make an epoch


def fit(
    module: nn.Module,
    batches: Batches,
    *,
    objective: Objective,
    epochs: int,
    lr: float,
    weight_decay: float,
    seed: int = 0,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Path | None = None,
    every: int = 10,
    key: str = "",
    device: str = "cpu",
    progress: str = "",
) -> History:
    """Train ``module`` in place and return one row of measures per epoch.

    AdamW; the learning rate follows a cosine to zero, a step per epoch. A module may name parameters that learn at
    another rate in ``lr_factors`` (prefix of the name -> factor). Every epoch starts from its own random state and a
    checkpoint keeps the rest, so training that was killed and run again ends in the same bits.

    Args:
        module: gives ``Output``; ``extras["energy"]`` (B,), if there, is added to the loss, and answers in
            ``extras["auxiliary_logits"]`` (B, K) are held to the objective as the others are.
        batches: gives an epoch's batches; epochs count from 0.
        objective: what is minimised; a state it has (buffers of an ``nn.Module``) is kept in the checkpoint.
        epochs: passes over the data.
        lr: of the first epoch.
        weight_decay: decoupled, of every parameter.
        seed: of what the module draws while it trains (dropout, stochastic depth).
        validate: measures the module after each epoch; its names go into the row.
        log: is told each row as soon as it is known; rows from before a resumption are not told again.
        checkpoint: file that outlives a killed training; removed at the end.
        every: epochs between checkpoints.
        key: fingerprint of all that training depends on; a checkpoint with another key is not used.
        device: ``cpu`` or ``cuda``; on the latter in bfloat16 where that is safe.
        progress: what the progress bar says; none if empty.

    Returns:
        Per epoch ``epoch``, ``lr``, ``loss``, ``objective``, ``train_accuracy``, ``mask`` (mean), the mean of each of
        the module's extras, and what ``validate`` says.

    Raises:
        FieldmarkError: the loss or a parameter is not finite after an epoch.
    """
    state = nn.ModuleList([module, *([objective] if isinstance(objective, nn.Module) else [])]).to(device)
    optimiser = torch.optim.AdamW(_groups(module, lr), weight_decay=weight_decay, fused=True)
    history = resume(checkpoint, state, optimiser, key) if checkpoint else []
    bar = tqdm(range(epochs), desc=progress, unit="epoch", initial=len(history), disable=not progress)
    for epoch in range(len(history), epochs):
        rate = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["first_lr"]
        module.train()
        with torch.random.fork_rng([device] if device != "cpu" else []):
            torch.manual_seed(int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0]))
            means = _epoch(module, batches(epoch), objective, optimiser, device)
        _demand_finite(module, epoch, means["loss"])
        measured = validate(module) if validate else {}
        history.append({"epoch": epoch, "lr": rate * lr, **means, **measured})
        if log:
            log(history[-1])
        bar.set_postfix({name: f"{value:.3f}" for name, value in {"loss": means["loss"], **measured}.items()})
        bar.update()
        if checkpoint and (epoch + 1) % every == 0:
            save(checkpoint, state, optimiser, history, key)
    bar.close()
    module.eval()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return history


def _epoch(
    module: nn.Module, batches: Triples, objective: Objective, optimiser: torch.optim.Optimizer, device: str
) -> dict[str, float]:
    """Take one step per batch; sums stay on the device, so a GPU is waited for once."""
    sums: dict[str, Tensor] = {}
    examples = 0
    for batch, labels_B, groups_B in batches:
        batch = move(batch, device)
        labels_B, groups_B = (targets.to(device, non_blocking=True) for targets in (labels_B, groups_B))
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            output: Output = module(batch)
        paid = _paid(objective, output, labels_B, groups_B)
        energy_B = output.extras.get("energy")
        total = paid if energy_B is None else paid + energy_B.mean()
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimiser.step()
        with torch.no_grad():
            correct_B = output.logits_BK.argmax(1) == labels_B
            now = {"loss": total, "objective": paid, "train_accuracy": correct_B.float(), "mask": output.mask_Bhw}
            told = {name: value for name, value in output.extras.items() if name != "auxiliary_logits"}
            for name, value in (now | told).items():
                sums[name] = sums.get(name, 0) + len(labels_B) * value.mean()
        examples += len(labels_B)
    return {name: float(value) / examples for name, value in sums.items()}


def _paid(objective: Objective, output: Output, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    """Return what the answers cost, auxiliary ones as much as the others; one call, as an objective may count them."""
    auxiliary_BK = output.extras.get("auxiliary_logits")
    if auxiliary_BK is None:
        return objective(output.logits_BK.float(), labels_B, groups_B)
    logits_2BK = torch.cat([output.logits_BK.float(), auxiliary_BK.float()])
    return 2 * objective(logits_2BK, labels_B.repeat(2), groups_B.repeat(2))


def _groups(module: nn.Module, lr: float) -> list[dict[str, object]]:
    """Return what learns, by learning rate."""
    factors: dict[str, float] = getattr(module, "lr_factors", {})
    members: dict[float, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for prefix, factor in factors.items() if name.startswith(prefix)), 1.0)
            members.setdefault(factor, []).append(parameter)
    return [{"params": group, "lr": factor * lr, "first_lr": factor * lr} for factor, group in members.items()]


def move(batch: Batch, device: str) -> Batch:
    """Return the batch on ``device``."""

    def there(part: Tensor | None) -> Tensor | None:
        return None if part is None else part.to(device, non_blocking=True)

    x_BCHW = batch.x_BCHW.to(device, non_blocking=True)
    object_Bhw, key_B, attributes_BA = map(there, (batch.object_Bhw, batch.key_B, batch.attributes_BA))
    return batch._replace(x_BCHW=x_BCHW, object_Bhw=object_Bhw, key_B=key_B, attributes_BA=attributes_BA)


def _demand_finite(module: nn.Module, epoch: int, loss: float) -> None:
    """Stop at the epoch in which training broke: a bad gradient shows in the loss or in the parameters."""
    finite = torch.stack([parameter.isfinite().all() for parameter in module.parameters()]).all()  # waits once
    if not (math.isfinite(loss) and bool(finite)):
        raise FieldmarkError(f"training broke in epoch {epoch} (loss {loss}): lower train.lr, or check the data.")


def initialised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return ``build()`` with weights drawn from ``seed``; torch's generator is left as it was found.

    >>> draw = lambda: nn.Linear(1, 1)
    >>> bool(initialised(draw, 1).weight == initialised(draw, 1).weight)
    True
    """
    with torch.random.fork_rng(devices=[]):  # modules are born on the CPU
        torch.default_generator.manual_seed(seed)
        return build()
