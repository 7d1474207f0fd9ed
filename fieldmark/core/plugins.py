"""A plugin is a file: the word in ``params.yaml`` is the file's name, its room is a package."""

import ast
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

import fieldmark
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import fingerprint, sha256


def names(room: str) -> list[str]:
    """Return the plugin names of a room, sorted; files that start with ``_`` are not plugins.

    >>> "erm" in names("models")
    True
    """
    package = import_module(f"fieldmark.{room}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def find(room: str, name: str) -> ModuleType:
    """Import plugin ``name`` of ``room``.

    Raises:
        FieldmarkError: the room has no such file; the message lists the names it has.
    """
    known = names(room)
    if name not in known:
        raise FieldmarkError(
            f"there is no '{name}' in fieldmark/{room}/: use one of {', '.join(known)}, "
            f"or add fieldmark/{room}/{name}.py."
        )
    return import_module(f"fieldmark.{room}.{name}")


def code(package: Path | None = None) -> str:
    """Return the name of the code of this package, or of a copy of it: the sha256 of all its Python files."""
    folder = package or Path(fieldmark.__path__[0])
    return fingerprint([sha256(path) for path in sorted(folder.rglob("*.py"))])


def accepted(function: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return ``options`` if ``function`` takes them all, each as the type that is written beside it.

    Raises:
        FieldmarkError: an option it does not know, or a value that is none of the option's.

    >>> from typing import Literal
    >>> def build(*, gate: Literal["soft", "hard"] = "soft", bias: float = 0.5) -> None: ...
    >>> accepted(build, {"gate": "hard", "bias": 1})
    {'gate': 'hard', 'bias': 1.0}
    """
    taken = signature(function).parameters.values() if options else []
    known = [one.name for one in taken if one.default is not one.empty]
    unknown = sorted(set(options) - set(known))
    where = f"{function.__module__}.{function.__qualname__}"
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in taken):
        raise FieldmarkError(
            f"{where} has no option {', '.join(unknown)}: it takes {', '.join(known) or 'none'}; correct params.yaml."
        )
    types = get_type_hints(function) if options else {}
    return {name: _typed(f"{where}'s {name}", value, types.get(name, Any)) for name, value in options.items()}


def _typed(what: str, value: Any, wanted: Any) -> Any:
    try:
        return TypeAdapter(wanted, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        expected = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise FieldmarkError(f"{what} is {value!r}: {expected}; correct params.yaml.") from None


def asked(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of ``known`` a function names among its arguments: it is told that and nothing else.

    >>> asked(lambda recipes, *, classes: None, {"recipes": 1, "classes": 2, "pairs": 3})
    {'recipes': 1, 'classes': 2}
    """
    return {name: known[name] for name in signature(function).parameters if name in known}


def measured(measure: ModuleType, known: Mapping[str, Any], options: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the scores of a measure that is told what it asks of ``known``, each with what the measure says of itself.

    Raises:
        FieldmarkError: an option it does not know.
    """
    found = measure.score(**asked(measure.score, known), **accepted(measure.score, options))
    facts = {"higher_is_better": measure.HIGHER_IS_BETTER, "meaning": measure.MEANING}
    return {metric: (score, facts) for metric, score in found.items()}


def wanted(measure: ModuleType, known: Mapping[str, Any]) -> list[str]:
    """Return what a measure can't do without and is not ``known``."""
    return [
        name
        for name, one in signature(measure.score).parameters.items()
        if name not in known and one.default is one.empty
    ]


def files(room: str, name: str, options: Any = None) -> list[str]:
    """Return the files of a room that plugin ``name`` is made of, without importing them.

    These are its own, those of the same room that they import, and those of plugins that ``options`` or the defaults of
    options name.

    >>> files("models", "erm")
    ['fieldmark/models/erm.py']
    """
    folder, found = Path(fieldmark.__path__[0]) / room, set()
    todo = [name, *_words(options)]
    while todo:
        stem = todo.pop()
        if stem not in found and (folder / f"{stem}.py").is_file():
            found.add(stem)
            todo += _neighbours(folder, stem)
    return [f"fieldmark/{room}/{stem}.py" for stem in sorted(found)]


def _neighbours(folder: Path, stem: str) -> list[str]:
    """Return what one file of a room imports from it, and the texts among its functions' defaults."""
    room, imported = f"fieldmark.{folder.name}", []
    for node in ast.walk(ast.parse((folder / f"{stem}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == room:
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{room}."):
            imported.append(node.module.removeprefix(f"{room}."))
        elif isinstance(node, ast.arguments):
            given = [default for default in (*node.defaults, *node.kw_defaults) if isinstance(default, ast.Constant)]
            imported += [default.value for default in given if isinstance(default.value, str) and default.value]
    return imported


def _words(value: Any) -> list[str]:
    """Return all texts in nested options."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [word for item in value for word in _words(item)]
    return [value] if isinstance(value, str) else []


#: Rooms whose files are plugins, and what one adds there.
ROOMS = {
    "datasets": "where images come from",
    "splits": "how backgrounds are made to lie",
    "backbones": "what sees first",
    "models": "what decides, and where it looks",
    "objectives": "what training minimises",
    "classifiers": "what somebody else trained",
    "robustness": "what a changed background does",
    "explain": "whether it looked at the object",
}


def sentence(room: str, name: str) -> str:
    """Return how a plugin's file introduces itself, without importing it.

    >>> sentence("models", "erm")
    'The plain network: every token counts the same.'
    """
    file = Path(fieldmark.__path__[0]) / room / f"{name}.py"
    return " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].split())


def declared(room: str, name: str, what: str) -> Any:
    """Return the constant that a plugin's file says at its top level, without importing it; ``None`` if it says none.

    >>> declared("models", "oracle_mask", "DEPLOYABLE")
    False
    """
    file = Path(fieldmark.__path__[0]) / room / f"{name}.py"
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [what]:
            return ast.literal_eval(node.value)
    return None


def table() -> str:
    """Return every plugin with its file's first sentence, as a Markdown table; the README holds it."""
    rows = ["| room | plugin | what it is |", "|---|---|---|"]
    for room in ROOMS:
        rows += [f"| `{room}` | `{name}` | {sentence(room, name)} |" for name in names(room)]
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
