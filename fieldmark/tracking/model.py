"""A classifier as an MLflow model: safetensors, a config, the project's code and nothing pickled."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fieldmark.core import plugins
from fieldmark.core.store import read_json
from fieldmark.tracking.record import Run
from fieldmark.tracking.registry import FINGERPRINT, resolve
from fieldmark.tracking.store import Store, quiet

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


CODE = "fieldmark.code"  # tag of a model: what its copy of the package is called by ``plugins.code``
BYTE_CODE = shutil.ignore_patterns("__pycache__")  # of this machine, and no evidence of anything


def log(
    run: Run,
    folder: Path,
    example_NHW3: npt.NDArray[np.uint8],
    *,
    fingerprint: str,
    loader: str,
    packages: Sequence[str],
) -> str:
    """Keep a classifier as an MLflow model of ``run`` and return its id; a second call finds the first one's.

    Args:
        run: the run that made it.
        folder: ``weights.safetensors`` and ``config.json``.
        example_NHW3: images shown as the input example.
        fingerprint: the cell's.
        loader: ``module:callable`` that takes the folder and gives an object with ``predict(images)``.
        packages: what has to be installed to serve it; pinned to the versions installed here.

    The project's own code goes along, so that a version loads outside of the project with the code it was logged with.
    """
    from mlflow.entities import LoggedModelOutput

    client = run.store.client
    wanted = f"tags.`{FINGERPRINT}` = '{fingerprint}'"
    for known in client.search_logged_models([run.store.experiment_id], filter_string=wanted):
        if known.source_run_id == run.run_id and known.status == "READY":
            return str(known.model_id)
    name = client.get_run(run.run_id).info.run_name
    model = client.create_logged_model(
        run.store.experiment_id,
        name=name,
        source_run_id=run.run_id,
        tags={FINGERPRINT: fingerprint, CODE: plugins.code()},
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory() as workspace:
        saved = Path(workspace) / "model"
        _save(saved, folder, example_NHW3, model.model_id, run.run_id, loader, packages)
        client.log_model_artifacts(model.model_id, str(saved))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def load(store: Store, uri: str) -> Any:
    """Return the model behind ``uri``; ``predict(images_NHW3)`` gives label, probabilities and mask.

    In a process that has loaded this package its code answers, not the copy that lies with the model.
    """
    with quiet():
        from mlflow.pyfunc import load_model
    return load_model(f"models:/{resolve(store, uri).model_id}")


def code_has_changed(store: Store, uri: str) -> bool:
    """Tell whether the model behind ``uri`` was logged with other code than that which would answer here."""
    logged_with = store.client.get_logged_model(resolve(store, uri).model_id).tags.get(CODE)
    return logged_with not in (None, plugins.code())


def classifier(store: Store, uri: str) -> Any:
    """Return what ``loader`` made of the model behind ``uri``: it can be asked more than MLflow passes on."""
    return load(store, uri).unwrap_python_model().classifier


def _save(
    saved: Path,
    folder: Path,
    example_NHW3: npt.NDArray[np.uint8],
    model_id: str,
    run_id: str,
    loader: str,
    packages: Sequence[str],
) -> None:
    """Write the folder MLflow calls a model."""
    with quiet():
        from mlflow.models import Model
        from mlflow.pyfunc import save_model
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)  # it tells of every model that it tries the example
    save_model(
        str(saved),
        python_model=str(Path(__file__).with_name("_pyfunc.py")),
        artifacts={"classifier": str(folder)},
        model_config={"loader": loader},
        signature=_signature(len(read_json(folder / "config.json")["classes"])),
        input_example=example_NHW3,
        code_paths=[str(shutil.copytree(_package(), saved.with_name("fieldmark"), ignore=BYTE_CODE))],
        pip_requirements=[f"{package}=={_release(package)}" for package in packages],
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
    )


def _signature(classes: int) -> ModelSignature:
    """Images in; label, probabilities and mask out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    answer: list[ColSpec | TensorSpec] = [
        TensorSpec(np.dtype("str"), (-1,), "label"),
        TensorSpec(np.dtype("float32"), (-1, classes), "probabilities"),
        TensorSpec(np.dtype("float32"), (-1, -1, -1), "mask"),
    ]
    return ModelSignature(Schema([TensorSpec(np.dtype("uint8"), (-1, -1, -1, 3))]), Schema(answer))


def _release(package: str) -> str:
    """Return the installed version without its build: registries have torch 2.13.0, not 2.13.0+cpu."""
    return installed(package).partition("+")[0]


def _package() -> Path:
    spec = importlib.util.find_spec("fieldmark")
    assert spec is not None and spec.origin is not None  # we are inside it
    return Path(spec.origin).parent
