"""What a word of ``models`` in ``params.yaml`` stands for."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Options = dict[str, Any]  # keyword arguments of a plugin; their defaults stand in its signature


class Section(BaseModel):
    """Part of ``params.yaml``: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Plugin(Section):
    """A plugin by file name, with the options that differ from its defaults."""

    name: str
    options: Options = {}


class Overrides(Section):
    """What one word trains differently."""

    epochs: Count | None = None
    batch: Count | None = None
    lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None


class Model(Section):
    """What a word of ``models`` stands for; an empty one is the plugin of that name with its defaults."""

    plugin: str  # file in models/; by default the word itself
    options: Options = {}
    objective: str  # file in objectives/; by default train.objective
    objective_options: Options = {}
    train: Overrides = Overrides()
    train_on: Annotated[list[str], Field(min_length=1)] = ["original"]  # variants of the training part
    size: Count | None = None  # px; by default ``size``
    backbone: Plugin | None = None  # of a model on pixels; by default ``backbone``


def spelt_out(values: Any) -> Any:
    """Let each word stand for the plugin of its name and the common objective, unless it says otherwise.

    What has another form than expected is left to the fields' own checks.

    >>> spelt_out({"train": {"objective": "erm"}, "models": {"ersm": {}}})["models"]
    {'ersm': {'plugin': 'ersm', 'objective': 'erm'}}
    """
    if not isinstance(values, dict) or not isinstance(models := values.get("models"), dict):
        return values
    train = values.get("train")
    objective = train.get("objective", "") if isinstance(train, dict) else ""  # a missing one is train's mistake
    spelt = {
        word: {"plugin": word, "objective": objective, **(said or {})} if isinstance(said, dict | None) else said
        for word, said in models.items()
    }
    return {**values, "models": spelt}
