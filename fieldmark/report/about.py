"""What is known of a model besides its measures: its kind, what it was told, what it costs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

CONTROLS, BASELINES, ONE_STAGE, TWO_STAGES = "controls", "baselines", "one stage", "two stages"

#: In the order to show them, and what they are.
FAMILIES = {
    BASELINES: "look everywhere, or learn with more than the picture's label",
    ONE_STAGE: "choose where to look",
    TWO_STAGES: "choose where to look, then decide from that alone",
    CONTROLS: "are told where the object is, or trained without the shortcut: what could be reached, and what not",
}
_BASELINES = frozenset({"erm", "vit", "attentive_probe", "finetune"})
_TWO_STAGES = frozenset({"two_stage", "anchor_exit", "ifam"})
FEW = 8  # models that fit one table and one plot
TOP, BOTTOM = "upper end", "lower end"

GONE = frozenset({"no_fg", "only_bg_box", "only_bg_tiled"})  # variants without the object


class About(NamedTuple):
    """What is known of a model besides its measures."""

    family: str  # of FAMILIES
    supervision: str  # what training was told beyond labels: "none", "train groups", "true masks", ...
    cost: Mapping[str, float] = {}  # "parameters", "macs" of one picture; "answering", "learning": pictures a second
    end: str = ""  # TOP: it can't see the background; BOTTOM: a cheat, who never saw an object


def end(plugin: str, train_on: Sequence[str]) -> str:
    """Return which end of every panel a control marks; other models stand between them.

    >>> end("oracle_mask", ["original"]), end("inverted_mask", ["only_bg_tiled"]), end("erm", ["original"])
    ('upper end', 'lower end', '')
    """
    if plugin == "oracle_mask":
        return TOP
    return BOTTOM if set(train_on) <= GONE else ""


def family(plugin: str, *, deployable: bool, train_part: str, train_on: Sequence[str] = ("original",)) -> str:
    """Return which kind of model a plugin makes.

    >>> family("erm", deployable=True, train_part="train"), family("erm_unbiased", deployable=True, train_part="fair")
    ('baselines', 'controls')
    """
    if not deployable or train_part != "train" or end(plugin, train_on):
        return CONTROLS
    if plugin in _BASELINES:
        return BASELINES
    return TWO_STAGES if plugin in _TWO_STAGES else ONE_STAGE


def supervision(
    objective: str, *, deployable: bool, train_part: str, train_on: Sequence[str], parts: Sequence[str] = ()
) -> str:
    """Return what a model was told beyond the labels of training.

    Args:
        objective: what its objective reads: "none", "train groups" or "val groups".
        deployable: false for what reads the true mask.
        train_part: which part it is trained on.
        train_on: the variants of it; all but the original are rendered with true masks.
        parts: what plugins that it is made of had been told before, such as "masks of other pictures".

    >>> supervision("none", deployable=True, train_part="train", train_on=["original", "mixed_rand"])
    'true masks'
    """
    if not deployable:
        return "true masks, at test too"
    if train_part != "train":
        return "other data"
    if set(train_on) - {"original"}:
        return "true masks"
    return ", ".join(dict.fromkeys(told for told in (*parts, objective) if told != "none")) or "none"


def sections(order: Sequence[str], about: Mapping[str, About]) -> dict[str, list[str]]:
    """Return heading -> models: families where there are many models, else all under no heading.

    >>> few = {"erm": About("baselines", "none"), "ersm": About("one stage", "none")}
    >>> sections(["ersm", "erm"], few)
    {'': ['ersm', 'erm']}
    """
    if len(order) <= FEW or not about:
        return {"": list(order)}
    told = {heading: [model for model in order if about[model].family == heading] for heading in FAMILIES}
    return {heading: models for heading, models in told.items() if models}


def panels(order: Sequence[str], about: Mapping[str, About]) -> list[tuple[str, int, list[str]]]:
    """Return heading, number and models of every plot and table: few models each, between the first and both ends.

    >>> few = {"erm": About("baselines", "none"), "truth": About("controls", "none", end=TOP)}
    >>> panels(["truth", "erm"], few)
    [('', 0, ['erm', 'truth'])]
    """
    ends = [model for model in order if model in about and about[model].end]
    first = next((model for model in order if model not in ends), "")
    shown = []
    for heading, models in sections(order, about).items():
        own = [model for model in models if model not in (first, *ends)]
        parts = [own[start : start + FEW] for start in range(0, len(own), FEW)] or [[]]
        shown += [(heading, number, [*filter(None, [first]), *part, *ends]) for number, part in enumerate(parts)]
    return shown


def count(value: float | None) -> str:
    """Return a large number with its unit.

    >>> count(407_361_000), count(1281), count(None)
    ('407 M', '1.28 k', 'unknown')
    """
    if value is None:
        return "unknown"
    unit, size = next(((name, size) for name, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)) if value >= size), ("", 1.0))
    return f"{value / size:.3g} {unit}".strip()


def relative(about: Mapping[str, About], model: str, what: str, baseline: str = "erm") -> float | None:
    """Return a cost as a multiple of the baseline's; None where one of them isn't known.

    >>> relative({"erm": About("", "", {"macs": 200}), "zoom": About("", "", {"macs": 500})}, "zoom", "macs")
    2.5
    """
    own, its = (about[name].cost.get(what) if name in about else None for name in (model, baseline))
    return own / its if own is not None and its else None
