"""Versions of registered models: where each came from, and which one is the champion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from fieldmark.core.errors import FieldmarkError
from fieldmark.tracking.gate import PROMOTE, Decision
from fieldmark.tracking.store import Store

CHAMPION = "champion"
FINGERPRINT = "fieldmark.fingerprint"
URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d{1,9}))")


ABOUT = (
    "Image classifiers that decide from the object, not from its background. The alias 'champion' moves only when a "
    "challenger's worst-group accuracy on validation is better with its whole interval and it keeps every limit of "
    "`register` (BG-Gap, mask); the ledger has every decision. "
    "`fieldmark why models:/<name>@champion` tells a version's story, `fieldmark trace` its origin down to each image."
)


class Version(NamedTuple):
    """One version of a registered model."""

    name: str
    version: str
    run_id: str
    model_id: str
    tags: dict[str, str]
    aliases: list[str]


def register(
    store: Store, name: str, *, run_id: str, model_id: str, fingerprint: str, tags: Mapping[str, str], description: str
) -> Version:
    """Return the version of ``name`` that holds this classifier, made when there is none; described anew."""
    from mlflow.exceptions import MlflowException

    try:
        store.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        store.client.create_registered_model(name, description=ABOUT)
    known = store.client.search_model_versions(f"name = '{name}' and tags.`{FINGERPRINT}` = '{fingerprint}'")
    if known:
        number = str(min(int(one.version) for one in known))
        store.client.update_model_version(name, number, description)
        return resolve(store, f"models:/{name}/{number}")
    made = store.client.create_model_version(
        name,
        f"models:/{model_id}",
        run_id,
        tags={**tags, FINGERPRINT: fingerprint},
        description=description,
        model_id=model_id,
    )
    return resolve(store, f"models:/{name}/{made.version}")


def champion(store: Store, name: str) -> Version | None:
    """Return the version that carries the alias; None before the first."""
    found = store.client.search_registered_models(f"name = '{name}'")
    return resolve(store, f"models:/{name}@{CHAMPION}") if found and CHAMPION in found[0].aliases else None


def champion_uri(root: Path) -> str:
    """Return the champion of the project, by the name that ``params.yaml`` registers under, whatever else it says."""
    try:
        name = yaml.safe_load((root / "params.yaml").read_text("utf-8"))["register"]["name"]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        name = "fieldmark"
    return f"models:/{name}@{CHAMPION}"


def promote(store: Store, version: Version, decision: Decision) -> None:
    """Make ``version`` the champion: the only place where the alias moves.

    Raises:
        FieldmarkError: the gate did not say so.
    """
    if decision.verdict != PROMOTE:
        raise FieldmarkError(
            f"{version.name} {version.version} can't become champion: the gate said '{decision.verdict}'."
        )
    store.client.set_registered_model_alias(version.name, CHAMPION, version.version)


def resolve(store: Store, uri: str) -> Version:
    """Return the version that ``models:/name@alias`` or ``models:/name/3`` means.

    Raises:
        FieldmarkError: not such a URI, or there is no such model, alias or version.
    """
    from mlflow.exceptions import MlflowException

    match = URI.fullmatch(uri)
    if not match:
        raise FieldmarkError(f"'{uri}' names no model: write models:/<name>@{CHAMPION} or models:/<name>/<version>.")
    name, alias, number = match["name"], match["alias"], match["version"]
    try:
        number = number or store.client.get_model_version_by_alias(name, alias).version
        found = store.client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise FieldmarkError(
            f"the registry has no {uri}: run dvc repro to train and register, or fieldmark ui to look."
        ) from None
    model_id = str(found.source).removeprefix("models:/")  # what register gave; the database keeps no other trace of it
    return Version(name, str(found.version), str(found.run_id), model_id, dict(found.tags), list(found.aliases))
