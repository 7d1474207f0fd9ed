"""``python leash.py COMMAND...``: run a command that never outlives whoever started it.

Its standard input is a pipe that the starter holds open. The system closes it when the starter dies, however it dies
(SIGKILL, out of memory), and the leash then kills its whole process group: no half-dead training writes into results
that a retry is making again. Start it in a session of its own.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress


def follow(file: int, grace: float = 0.0) -> None:
    """Wait for the starter to let go of the other end, then end the group, this process included.

    Args:
        file: descriptor of a pipe or a socket.
        grace: seconds that the group has to tidy up after a Ctrl-C.
    """
    with suppress(OSError):  # a socket may be reset
        while os.read(file, 1024):
            pass
    if grace:
        os.killpg(0, signal.SIGINT)
        time.sleep(grace)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the command, pass its exit code on (128 + n if signal n ended it)."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=follow, args=[0], daemon=True).start()
    code = process.wait()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
