"""What the gate reads of a model's masks: measures on validation, of the mask and the truth alone."""

from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.params import Params
from fieldmark.stats import recorded
from fieldmark.training.predict import predict
from stages._cell import View


def on_validation(params: Params, view: View, module: nn.Module) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return ``explain.validation`` on the validation part: each metric described, and the observations behind them.

    Raises:
        FieldmarkError: a measure needs more than the mask.
    """
    recipes = view.part("val")
    if not params.explain.validation:
        return recorded({}, recipes, "val")
    masks_Nhw = predict(module, view.in_order(recipes), device=view.device).masks_Nhw.astype(np.float64)
    known = {"map_Bhw": masks_Nhw, "mask_Bhw": masks_Nhw, "object_BHW": view.object_masks(recipes)}
    found: dict[str, tuple[Any, Any]] = {}
    for name in params.explain.validation:
        measure = plugins.find("explain", name)
        missing = plugins.wanted(measure, known)
        if missing:
            raise FieldmarkError(
                f"explain.validation names '{name}', which needs {', '.join(missing)}: measures of the mask alone can"
                " run on validation."
            )
        found |= plugins.measured(measure, known, params.explain.measures[name])
    return recorded(found, recipes, "val")
