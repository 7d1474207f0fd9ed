"""``python -m pipelines.fastdvc WORDS...``: DVC, which reads and writes its lock file at once, and writes it whole.

Before and after each cell DVC reads all of ``dvc.lock``, nine thousand lines, and then writes it, by a parser in Python
that keeps comments and line breaks: longer than most cells work (``bench/lock.py``). A lock file has neither, and the
same library has a parser in C. What was written last is also kept as JSON, a hundred times as fast to read; it is
believed only if it says of which lock file it was made. ``dvc`` itself reads what is written here, and writes the same
but for the spelling of nothing and of line breaks, and for the order: here cells lie by name. It also rewrites in
place; a kill here leaves the old file or the new one.
"""

import io
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from dvc import dvcfile
from dvc.cli import main
from dvc.utils import strictyaml
from dvc.utils.serialize import modify_yaml, parse_yaml
from ruamel.yaml import YAML

from fieldmark.core.store import atomic

MEMO = Path(".dvc", "tmp", "lock.json")  # beside the lock file: its sha256 and what it says


def parsed(text: str, path: str, typ: str = "safe") -> Any:
    """Return what a file of DVC's says; of the lock file that was written last, without parsing it.

    Raises:
        YAMLFileCorruptedError: it is no YAML.
    """
    with suppress(OSError, ValueError):  # there is none
        memo = json.loads((Path(path).parent / MEMO).read_text(encoding="utf-8"))
        if memo["sha256"] == _digest(text) and typ == "safe":
            return memo["said"]
    return parse_yaml(text, path, typ)


@contextmanager
def modified(path: str, fs: Any = None) -> Iterator[dict[str, Any]]:
    """Yield what a file of DVC's says, and write what it was changed to; ``dvc.yaml``, which people write, as ever.

    Raises:
        YAMLFileCorruptedError: it is no YAML.
    """
    if Path(path).name != dvcfile.LOCK_FILE:
        with modify_yaml(path, fs=fs) as kept:
            yield kept
        return
    file = Path(path)
    said: dict[str, Any] = parsed(file.read_text(encoding="utf-8"), path) if file.exists() else {}
    yield said
    if "stages" in said:  # cells that run side by side end in no order
        said["stages"] = dict(sorted(said["stages"].items()))
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # a new file begins with its version
    yaml.representer.add_representer(OrderedDict, yaml.representer.represent_dict.__func__)  # nothing special, to DVC
    yaml.dump(said, stream := io.StringIO())
    _write(file, text := stream.getvalue())
    memo = json.dumps({"sha256": _digest(text), "said": said}, default=lambda _: None)
    if (folder := file.parent / MEMO.parent).exists() and json.loads(memo)["said"] == said:  # JSON can say it
        _write(folder / MEMO.name, memo)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    with atomic(path) as new:
        new.write_text(text, encoding="utf-8")


def run(words: list[str]) -> int:
    """Do what ``dvc WORDS...`` does and return its exit code."""
    dvcfile.modify_yaml = modified
    strictyaml.parse_yaml = parsed
    return int(main(words))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
