"""Claim: ERSM's defaults are what works best on validation, and its gain is not slow fitting alone.

Trains each setting on every seed's embedded features (run ``make repro`` first) and prints validation accuracy, average
and worst group, as means over seeds. The plain network is there at several learning rates: a gate that starts nearly
closed also learns slowly.
"""

from pathlib import Path

import numpy as np

from fieldmark.core.params import Params, load
from fieldmark.core.words import Model
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import phases
from fieldmark.training.predict import measures, predict
from stages._cell import View

ROOT = Path(__file__).parent.parent
SETTINGS: dict[str, tuple[str, dict[str, object], float]] = {
    "erm": ("erm", {}, 1e-3),
    "erm, lr / 3": ("erm", {}, 3e-4),
    "erm, lr / 10": ("erm", {}, 1e-4),
    "erm, lr / 30": ("erm", {}, 3e-5),
    "ersm as released": ("ersm", {}, 1e-3),
    "ersm, no energy": ("ersm", {"lam": 0.0, "gam": 0.0}, 1e-3),
    "ersm, energy x 30": ("ersm", {"lam": 3e-2, "gam": 3e-2}, 1e-3),
    "ersm, lr / 3": ("ersm", {}, 3e-4),
    "ersm, lr x 3": ("ersm", {}, 3e-3),
    "ersm, bias trained": ("ersm", {"bias_mode": "scalar"}, 1e-3),
    "ersm, bias starts at 0": ("ersm", {"bias_init": 0.0}, 1e-3),
    "ersm, bias at 0, trained": ("ersm", {"bias_init": 0.0, "bias_mode": "scalar"}, 1e-3),
    "ersm, border corrected": ("ersm", {"pair": "feature8_norm"}, 1e-3),
    "ersm, coherent mask": ("ersm", {"pair": "mask_tv"}, 1e-3),
    "ersm, renormalised": ("ersm", {"renormalise": True}, 1e-3),
    "ersm, hard mask": ("ersm", {"gate": "ste", "bias_init": 0.0, "bias_mode": "scalar"}, 1e-3),
}


def validated(params: Params, model: str, options: dict[str, object], lr: float, seed: int) -> list[float]:
    """Train one setting on one seed; return average and worst-group accuracy on validation."""
    word = Model(plugin=model, options=options, objective=params.train.objective)
    view = View(params.model_copy(update={"models": {model: word}}), ROOT, model, seed)
    module = initialised(view.build, seed)
    epochs, decay = params.train.epochs, params.train.weight_decay
    for _, part in phases(module):
        fit(part, view.lessons(), objective=view.objective(), epochs=epochs, lr=lr, weight_decay=decay, seed=seed)
    found = measures(predict(module, view.in_order(view.part("val"))))
    return [found["val_accuracy"], found["val_worst_group"]]


def compare(settings: dict[str, tuple[str, dict[str, object], float]]) -> None:
    """Print one line per setting."""
    params = load(ROOT / "params.yaml")
    print(f"{'setting':26} average  worst group  (validation, mean of {len(params.seeds)} seeds)")
    for name, (model, options, lr) in settings.items():
        average, worst = np.mean([validated(params, model, options, lr, seed) for seed in params.seeds], axis=0)
        print(f"{name:26} {average:7.3f}  {worst:11.3f}", flush=True)


if __name__ == "__main__":
    compare(SETTINGS)
