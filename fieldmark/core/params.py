"""``params.yaml`` as frozen, checked values: an unknown key is a mistake, not a default."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.words import Count, Model, Options, Plugin, Section, spelt_out

DECIDES = "worst_group"  # the measure by which the gate decides


class Split(Section):
    """How recipes are drawn; sizes are examples per part."""

    recipe: str
    correlation: Annotated[float, Field(ge=0.5, le=1)]  # share of train whose background is the one its label goes with
    pairs: Annotated[dict[str, str], Field(min_length=2)]  # label -> the background it goes with
    train: Count
    val: Count
    test: Count
    options: Options = {}


class Embed(Section):
    """What is computed once for all models on features."""

    batch: Count
    views: Annotated[list[Literal["plain", "masked"]], Field(min_length=1)]


class Train(Section):
    """One recipe of training for every model, so that models differ in nothing else."""

    objective: str
    epochs: Count
    batch: Count
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    checkpoint_every: Count  # epochs
    workers: Annotated[int, Field(ge=0)]  # loader processes of models on pixels; results do not depend on it


class Evaluate(Section):
    """Robustness tests and the variants of the test part they look at."""

    tests: dict[str, Options]  # run on the test part
    validation: list[str]  # those of them that also run on validation, for the gate
    variants: list[str]  # of the test part


class Explain(Section):
    """Explanation measures, and the maps they are asked about: each model's own mask, and others that captum makes."""

    maps: Annotated[list[Literal["mask", "gradcam", "integrated_gradients", "occlusion"]], Field(min_length=1)] = [
        "mask"
    ]
    measures: dict[str, Options]
    validation: list[str] = []  # those of them that also run on validation, for the gate


class Stats(Section):
    """How intervals are made."""

    draws: Count
    level: Annotated[float, Field(gt=0, lt=1)]
    cluster: Annotated[list[Literal["fg_source", "bg_source"]], Field(min_length=1)]


class Register(Section):
    """What may become champion, and against what."""

    name: Annotated[str, Field(pattern=r"^[^/:@'\"]+$")]  # MLflow takes no other
    baseline: str
    candidates: list[str]
    minimum_group: (
        Count  # examples a group must have on validation before the gate says anything else than "not enough evidence"
    )
    ceiling: dict[str, float] = {}  # metric on validation -> what a challenger's whole interval may reach
    floor: dict[str, float] = {}  # mask measure on validation -> the same from below; a uniform mask claims nothing


class Report(Section):
    """What the page shows."""

    gallery: Count  # pictures per model


class Params(Section):
    """All of ``params.yaml``."""

    dataset: Plugin
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    models: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Model]
    backbone: Plugin
    size: Count  # px, side of a rendered image
    threads: Count  # of CPU arithmetic; fixed, because sums depend on it
    split: Split
    embed: Embed
    train: Train
    evaluate: Evaluate
    explain: Explain
    stats: Stats
    register_: Register = Field(alias="register")
    report: Report

    @model_validator(mode="before")
    @classmethod
    def _words_are_spelt_out(cls, values: Any) -> Any:
        """Let a word say only what is special about it."""
        return spelt_out(values)

    @model_validator(mode="after")
    def _plugins_exist(self) -> "Params":
        """Name a missing plugin before hours of work, not after."""
        for room, names in {
            "datasets": [self.dataset.name],
            "splits": [self.split.recipe],
            "backbones": [
                self.backbone.name,
                *(model.backbone.name for model in self.models.values() if model.backbone),
            ],
            "models": [model.plugin for model in self.models.values()],
            "objectives": [self.train.objective, *(model.objective for model in self.models.values())],
            "robustness": list(self.evaluate.tests),
            "explain": list(self.explain.measures),
        }.items():
            known = plugins.names(room)
            for name in names:
                if name not in known:
                    raise ValueError(f"there is no '{name}' in fieldmark/{room}/ (there is {', '.join(known)})")
        return self

    @model_validator(mode="after")
    def _nothing_counts_twice(self) -> "Params":
        """Refuse one seed counted as several, and a source as two."""
        for said, named in (("seeds", self.seeds), ("stats.cluster", self.stats.cluster)):
            if len({*named}) < len(named):
                raise ValueError(f"{said} are {named}: name each once, or intervals take copies for evidence")
        return self

    @model_validator(mode="after")
    def _what_the_gate_needs_exists(self) -> "Params":
        """Name what is judged, or measured for judging, and is nowhere else."""
        if DECIDES not in self.evaluate.tests or DECIDES not in self.evaluate.validation:
            raise ValueError(f"evaluate.tests and evaluate.validation must name {DECIDES}, by which the gate decides")
        if "original" not in self.evaluate.variants:
            raise ValueError(f"evaluate.variants are {self.evaluate.variants}: add original, which the pictures show")
        for said, named, there, where in (
            ("register", [*self.register_.candidates, self.register_.baseline], self.models, "models"),
            ("evaluate.validation", self.evaluate.validation, self.evaluate.tests, "evaluate.tests"),
            ("explain.validation", self.explain.validation, self.explain.measures, "explain.measures"),
        ):
            unknown = sorted({*named} - {*there})
            if unknown:
                raise ValueError(f"{said} names {', '.join(unknown)}, which {where} does not have: add it there")
        for word in [self.register_.baseline, *self.register_.candidates]:
            if not plugins.declared("models", plugin := self.models[word].plugin, "DEPLOYABLE"):
                raise ValueError(f"register names {word}, but '{plugin}' is a control that can't serve: leave it out")
        return self

    def training(self, word: str) -> Train:
        """Return how the model ``word`` is trained."""
        return self.train.model_copy(update=self.models[word].train.model_dump(exclude_none=True))


def load(path: Path) -> Params:
    """Read and check ``params.yaml``.

    Raises:
        FieldmarkError: no such file, not YAML, an unknown or missing key, a value out of range, an unknown plugin.
    """
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
        return Params.model_validate(values)
    except FileNotFoundError:
        raise FieldmarkError(f"{path} does not exist: run the command from the project's folder.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FieldmarkError(f"{path} can't be read ({error}): save it as a text file in UTF-8.") from None
    except yaml.YAMLError as error:
        raise FieldmarkError(f"{path.name} is not YAML: {' '.join(str(error).split())}.") from None
    except ValidationError as error:
        found = "; ".join(_sentence(detail) for detail in error.errors())
        raise FieldmarkError(f"{path.name}: {found}.") from None


def _sentence(detail: Any) -> str:
    """Say one of pydantic's findings as 'what was found, what was expected'."""
    where = ".".join(str(step) for step in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown key '{where}': remove it or correct its spelling"
    if detail["type"] == "missing":
        return f"key '{where}' is missing: add it"
    message = detail["msg"].removeprefix("Value error, ")
    return f"'{where}' is {detail['input']!r}: {message}" if where else message
