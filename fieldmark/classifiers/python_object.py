"""Anything Python can call: `module:name` of an object with `classes`, `size` and `probabilities(images)`."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fieldmark.classifiers._pixels import Floats, Pixels, described, hashes
from fieldmark.core.contracts import BlackBox
from fieldmark.core.errors import FieldmarkError

KIND = "Python object"
_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def recognises(what: str) -> bool:
    """Tell whether ``what`` is ``module:name``; the module may lie in the current folder.

    >>> recognises("service.model:classifier"), recognises("models:/bird/1")
    (True, False)
    """
    return bool(_NAME.fullmatch(what))


def load(what: str, facts: Mapping[str, Any]) -> BlackBox:
    """Import an object whose ``probabilities`` take (B, size, size, 3), uint8: a few lines that ask a server will do.

    Args:
        what: ``module:name``; a callable is called without arguments for the object.
        facts: ``classes`` and ``size`` that count instead of the object's.

    Raises:
        FieldmarkError: no such module or name, or the object lacks something.
    """
    place, _, name = what.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(place)
        found = getattr(module, name)
    except (ImportError, AttributeError) as error:
        raise FieldmarkError(
            f"'{what}' can't be imported ({error}): run the command where `import {place}` works."
        ) from None
    finally:
        sys.path.pop(0)
    made = found() if isinstance(found, type) or not hasattr(found, "probabilities") and callable(found) else found
    classes, size = facts.get("classes", getattr(made, "classes", ())), facts.get("size", getattr(made, "size", 0))
    if not hasattr(made, "probabilities") or not classes or not size:
        raise FieldmarkError(
            f"'{what}' must have `classes` (two names at least), `size` (px) and `probabilities(images)`: add them."
        )
    sees = described({**facts, "classes": classes, "size": size}, f"'{what}'")

    def probabilities(images_BHW3: Pixels) -> Floats:
        answers_BK = np.asarray(made.probabilities(images_BHW3), np.float32)
        if answers_BK.shape != (len(images_BHW3), len(sees.classes)):
            raise FieldmarkError(
                f"'{what}' answered {answers_BK.shape} for {len(images_BHW3)} pictures: expected a row a picture and a "
                f"column for each of its {len(sees.classes)} classes."
            )
        return answers_BK

    file = getattr(module, "__file__", None)
    return BlackBox(sees.classes, sees.size, probabilities, hashes(Path(file)) if file else {}, KIND)
