"""The code MLflow keeps with a model and runs to load it (models from code, so nothing is pickled).

It knows no room: the classifier to call is named in the model's config, as ``module:object``.
"""

import pkgutil
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.tracking.store import quiet

with quiet():  # MLflow at the top of a file, because only MLflow runs this one
    from mlflow.models import set_model
    from mlflow.pyfunc.model import PythonModel


class Classifier(PythonModel):
    """Images (N, H, W, 3), uint8, in; ``{"label": (N,), "probabilities": (N, K), "mask": (N, h, w)}`` out."""

    def load_context(self, context: Any) -> None:
        """Load the weights."""
        load = pkgutil.resolve_name(context.model_config["loader"])
        self.classifier = load(Path(context.artifacts["classifier"]))

    def predict(  # MLflow reads the hints and knows no other name of an array
        self,
        context: Any,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Classify a batch of images and say where the model looked."""
        answer: dict[str, Any] = self.classifier.predict(np.asarray(model_input, np.uint8))._asdict()
        return answer


set_model(Classifier())
