"""What a class of the model is called in the data: ImageNet's 1000 names, say, against "bird" and "land mammal"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from fieldmark.core.errors import FieldmarkError

Ints = npt.NDArray[np.int64]
SHOWN = 8  # names of a long list


def mapped(model: Sequence[str], data: Sequence[str], wanted: str | None) -> Ints:
    """Return for each class of the model the number of the data's class, or -1: such an answer is always wrong.

    Args:
        model: all that the model can say.
        data: the classes of the data.
        wanted: ``duck=bird,goose=bird``; or a YAML file of either ``duck: bird`` or ``bird: [duck, "*finch*"]``. A
            ``*`` stands for any letters; of a name such as "tabby, tabby cat" either half will do. None: equal names.

    Raises:
        FieldmarkError: no way from one side to the other; both sides are in the sentence.

    >>> mapped(["duck", "cup", "house finch"], ["bird"], "duck=bird,*finch=bird").tolist()
    [0, -1, 0]
    """
    sides = f"the model says {some(model)}; the data has {some(data)}"
    rules = {name: name for name in data} if wanted is None else _rules(wanted, data)
    found = np.full(len(model), -1, np.int64)
    for pattern, name in rules.items():
        if name not in data:
            raise FieldmarkError(f"--classes maps '{pattern}' to '{name}', which the data does not have: {sides}.")
        rows = [row for row, said in enumerate(model) if _fits(pattern, said)]
        if not rows and wanted is not None:
            raise FieldmarkError(f"--classes names '{pattern}', which the model never says: {sides}.")
        for row in rows:
            if found[row] not in (-1, data.index(name)):
                raise FieldmarkError(
                    f"--classes maps '{model[row]}' to both '{data[found[row]]}' and '{name}': keep one of them."
                )
            found[row] = data.index(name)
    lost = [name for number, name in enumerate(data) if number not in found]
    if lost:
        example = ",".join(f"{said}={name}" for said, name in zip(model, lost, strict=False))
        raise FieldmarkError(
            f"no class of the model stands for {some(lost)}: {sides}; say what is what, such as --classes "
            f"'{example}', or give a YAML file: bird: [duck, '*finch*']."
        )
    return found


def _rules(wanted: str, data: Sequence[str]) -> dict[str, str]:
    """Return pattern -> class of the data."""
    if "=" in wanted:
        pairs = [pair.partition("=") for pair in wanted.split(",") if pair.strip()]
        return {pattern.strip(): name.strip() for pattern, _, name in pairs}
    path = Path(wanted)
    try:
        said = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise FieldmarkError(
            f"--classes '{wanted}' is neither a mapping nor a YAML file ({' '.join(str(error).split())[:120]}): write "
            f"'duck={data[0]},...', or a file of lines such as `{data[0]}: [duck, '*finch*']`."
        ) from None
    if not isinstance(said, Mapping) or not said:
        raise FieldmarkError(f"{path} holds no mapping: write lines such as `{data[0]}: [duck, '*finch*']`.")
    turned = ((pattern, name) for name, listed in said.items() if isinstance(listed, list) for pattern in listed)
    plain = ((pattern, name) for pattern, name in said.items() if not isinstance(name, list))
    return {str(pattern): str(name) for pattern, name in [*turned, *plain]}


def pairs(wanted: str) -> dict[str, str]:
    """Return class -> background of ``bird=water,dog=land``.

    Raises:
        FieldmarkError: not such a text.

    >>> pairs("bird=water, land mammal=land")
    {'bird': 'water', 'land mammal': 'land'}
    """
    said = [pair.partition("=") for pair in wanted.split(",")]
    if not all(equal and label.strip() and background.strip() for label, equal, background in said):
        raise FieldmarkError(f"--pairs '{wanted}' can't be read: write class=background,class=background.")
    return {label.strip(): background.strip() for label, _, background in said}


def columns(probabilities_NM: npt.NDArray[np.float32], found: Ints, classes: int) -> npt.NDArray[np.float32]:
    """Return (N, classes), or (N, classes + 1) where the model can say something else, which is never right.

    A class gets the greatest probability among the model's classes that stand for it. So the largest column is the one
    of the answer the model really gives, and never that of many small ones together; ImageNet-9 is scored so too
    (arXiv 2006.09994: the argmax is taken over all 1000 classes, then mapped).

    >>> columns(np.array([[0.3, 0.3, 0.4]], np.float32), np.array([0, 0, -1]), 1).round(1).tolist()
    [[0.30000001192092896, 0.4000000059604645]]
    """
    wanted = [*range(classes), *([-1] if (found == -1).any() else [])]
    return np.stack([probabilities_NM[:, found == number].max(1) for number in wanted], axis=1)


def folded(columns_NK: npt.NDArray[np.float32], labels_N: Ints, classes: int) -> npt.NDArray[np.float32]:
    """Return (N, classes) of ``columns``: where something else wins, its probability goes to a class that is wrong.

    It is the likeliest of the classes that are not the label: so measures that know the data's classes alone find a
    wrong answer, as sure as the model was, and the label's own probability.

    >>> folded(np.array([[0.3, 0.2, 0.5], [0.6, 0.1, 0.3]], np.float32), np.array([0, 0]), 2).round(1).tolist()
    [[0.30000001192092896, 0.5], [0.6000000238418579, 0.10000000149011612]]
    """
    kept_NK = columns_NK[:, :classes].copy()
    (rows,) = np.nonzero(columns_NK.argmax(1) == classes)
    wrong_NK = np.where(np.arange(classes) == labels_N[:, None], -1, kept_NK)
    kept_NK[rows, wrong_NK[rows].argmax(1)] = columns_NK[rows, -1]
    return kept_NK


def _fits(pattern: str, said: str) -> bool:
    """Tell whether a pattern is a class's whole name, or one of the names it lists.

    >>> _fits("tabby cat", "tabby, tabby cat"), _fits("cat", "tabby, tabby cat")
    (True, False)
    """
    names = [said, *(part.strip() for part in said.split(","))]
    return any(fnmatchcase(name.lower(), pattern.lower()) for name in names)


def some(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are.

    >>> some(["a", "b"]), some(list("abcdefghij"))
    ('a, b', 'a, b, c, d, e, f, g, h and 2 more')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
