"""``python -m stages NAME ARGUMENTS``: run a stage; in a fork of a process that has loaded all, where one waits.

``pipelines.warm`` is that process, and ``FIELDMARK_WARM`` its address. Without one the stage runs here: the same code,
the same bytes, some seconds later.
"""

import json
import os
import runpy
import signal
import socket
import sys
from pathlib import Path

ADDRESS = "FIELDMARK_WARM"
STREAMS = (0, 1, 2)


def main(words: list[str]) -> None:
    """Run the stage ``words[0]`` with the rest as its arguments, and end as it ends."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    if not words or words[0] not in names:
        sys.exit(f"fieldmark: python -m stages got {words[:1] or 'no stage'}: name one of {', '.join(names)}.")
    code = forked(words)
    if code is not None and code < 0:
        os.kill(os.getpid(), -code)  # so ended the stage: who waits for this process must see it
    if code is not None:
        sys.exit(code)
    sys.argv = [f"stages {words[0]}", *words[1:]]
    runpy.run_module(f"stages.{words[0]}", run_name="__main__", alter_sys=True)


def forked(words: list[str]) -> int | None:
    """Run the stage in a fork.

    Returns:
        Its exit code, or minus the signal that ended it; None if no process waits that would run this very code.
    """
    if ADDRESS not in os.environ:
        return None
    order = json.dumps({"words": words, "folder": str(Path.cwd()), "environ": dict(os.environ)}).encode()
    try:
        for number in STREAMS:
            os.fstat(number)
        line = socket.socket(socket.AF_UNIX)
        line.connect(os.environ[ADDRESS])
    except OSError:  # there is no input or output to hand on, or nobody waits any more
        return None
    with line:
        socket.send_fds(line, [len(order).to_bytes(4, "big")], STREAMS)
        line.sendall(order)
        answer = line.recv(16)
    return None if answer == b"no" else int(answer or -signal.SIGKILL)  # no answer: it was killed


if __name__ == "__main__":
    main(sys.argv[1:])
