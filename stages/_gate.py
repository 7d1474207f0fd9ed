"""What report and register put before the gate."""

from pathlib import Path

import numpy as np

from fieldmark.core import layout
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import DECIDES
from fieldmark.report import page
from fieldmark.report.leaderboard import title
from fieldmark.stats import Observed, difference
from fieldmark.tracking import gate
from stages._results import UNKNOWN, Results


def judge(
    results: Results, root: Path, challenger: str, champion: list[Observed] | None = None, *, comparable: bool = True
) -> gate.Decision:
    """Return what the gate says of a model.

    Args:
        results: all measures.
        root: the project.
        challenger: word of the model.
        champion: the champion's worst-group observations on validation; None: the declared baseline's.
        comparable: whether the champion was measured on the same examples.
    """
    per_seed, register = results.observed[challenger, DECIDES, "val"], results.params.register_
    other = results.observed[register.baseline, DECIDES, "val"] if champion is None else champion
    return gate.decide(
        difference(per_seed, other, **results.how) if comparable else UNKNOWN,
        smallest_group=min(min(one.score.counts().values()) for one in per_seed),
        minimum_group=register.minimum_group,
        comparable=comparable,
        limits=_limits(results, root, challenger),
    )


def decided(results: Results, root: Path) -> page.Gate:
    """Return what the gate says of each candidate against the declared baseline."""
    baseline, candidates = results.params.register_.baseline, results.params.register_.candidates
    judged = {name: judge(results, root, name) for name in candidates}
    best = {name: results.row((name, DECIDES, "val"))["mean"] for name in candidates}
    champion = gate.winner({name: (judged[name], best[name]) for name in candidates}) or baseline
    return page.Gate(
        champion, [{"challenger": name, "champion": baseline, **said._asdict()} for name, said in judged.items()]
    )


def _limits(results: Results, root: Path, model: str) -> list[gate.Limit]:
    """Return the ceilings and floors of ``register`` with what a model reaches on validation."""
    register, claims, limits = results.params.register_, _claims_a_mask(results, root, model), []
    for metric, bound in [*register.ceiling.items(), *register.floor.items()]:
        key, of_masks = (model, metric, "val"), metric in register.floor
        if key not in results.observed:
            raise FieldmarkError(
                f"register has a limit for '{metric}', which was not measured on validation: name the plugin that"
                f" measures it in {'explain' if of_masks else 'evaluate'}.validation."
            )
        found = results.difference(key, None) if claims or not of_masks else None
        limits.append(gate.Limit(title(metric), found, bound, at_most=not of_masks))
    return limits


def _claims_a_mask(results: Results, root: Path, model: str) -> bool:
    """Return whether a model's masks tell places apart; the plain network's are the same everywhere."""
    paths = [layout.explained(root, model, seed).with_suffix(".masks.npy") for seed in results.params.seeds]
    return any(bool(np.ptp(np.load(path), axis=(1, 2)).any()) for path in paths)
