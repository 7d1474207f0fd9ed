"""``python -m pipelines.fastdvc WORDS...``: DVC, which writes its lock file at once and whole.

After each cell DVC reads and writes all of ``dvc.lock``, nine thousand lines, by a parser in Python that keeps comments
and line breaks: longer than most cells work (``bench/lock.py``). A lock file has neither, and the same library has a
parser in C. ``dvc`` itself reads what is written here, and writes the same but for the spelling of nothing and of line
breaks. It also rewrites in place; here a kill leaves the old file or the new one.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dvc import dvcfile
from dvc.cli import main
from dvc.utils.serialize import modify_yaml, parse_yaml
from ruamel.yaml import YAML

from fieldmark.core.store import atomic


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
    said: dict[str, Any] = parse_yaml(file.read_text(encoding="utf-8"), path) if file.exists() else {}
    yield said
    yaml: Any = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # the order of stages is that in which they ran
    yaml.representer.add_representer(OrderedDict, yaml.representer.represent_dict.__func__)  # nothing special, to DVC
    with atomic(file) as new, new.open("w", encoding="utf-8") as stream:
        yaml.dump(said, stream)


def run(words: list[str]) -> int:
    """Do what ``dvc WORDS...`` does and return its exit code."""
    dvcfile.modify_yaml = modified
    return int(main(words))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
