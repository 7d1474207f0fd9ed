"""MLflow models that another project logged: fetched, looked at, and loaded only where that unpickles nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking.store import Store, quiet


def fetched(store: Store, uri: str, into: Path) -> Path:
    """Return the folder of the model behind ``models:/...`` or ``runs:/...``, copied into ``into``.

    Raises:
        FieldmarkError: there is no such model.
    """
    from mlflow.exceptions import MlflowException

    with quiet():
        from mlflow.artifacts import download_artifacts
    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise FieldmarkError(
            f"{store.uri} has no {uri} ({said}): look with fieldmark ui, or set MLFLOW_TRACKING_URI to its server."
        ) from None


def flavours(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what a model can be loaded as, from its MLmodel.

    Raises:
        FieldmarkError: the folder is no MLflow model.
    """
    try:
        found: dict[str, dict[str, Any]] = yaml.safe_load((folder / "MLmodel").read_text())["flavors"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        found = {}
    if not isinstance(found, dict) or not all(isinstance(flavour, dict) for flavour in found.values()) or not found:
        raise FieldmarkError(f"{folder} is no MLflow model: it holds no MLmodel that can be read.")
    return found


def predictor(folder: Path) -> Callable[[Any], Any]:
    """Return ``predict`` of a model that is kept as code.

    Raises:
        FieldmarkError: it is kept as a pickle, which runs whatever its maker wrote.
    """
    found = flavours(folder)
    if not found.get("python_function", {}).get("model_code_path"):
        raise FieldmarkError(
            f"{folder} is kept as a pickle ({', '.join(found)}), which runs whatever its maker wrote: log it as ONNX "
            "(mlflow.onnx.log_model), by transformers, or from code, and audit that."
        )
    with quiet():
        from mlflow.pyfunc import load_model
    predict: Callable[[Any], Any] = load_model(str(folder)).predict
    return predict
