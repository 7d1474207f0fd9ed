"""How a command ends when somebody stops it, or reads no further: no stack trace either way."""

import os
import signal
import subprocess
import sys

import pytest

from fieldmark.core.errors import INTERRUPTED, UNREAD

HEAD = "import os, sys, time; from fieldmark.core.errors import exit_on_mistake\n"


def start(code: str, *options: str, **pipes: int) -> "subprocess.Popen[str]":
    command = [sys.executable, *options, "-c", HEAD + code]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **pipes)  # type: ignore[call-overload]


@pytest.mark.parametrize("options", [[], ["-u"]])
def test_a_reader_who_has_seen_enough_is_no_mistake(options: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("exit_on_mistake(lambda: print('a line'))", *options, stdout=write)
    os.close(write)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", UNREAD)


def test_another_broken_pipe_is_told() -> None:
    process = start(
        "exit_on_mistake(lambda: os.write((lambda r, w: os.close(r) or w)(*os.pipe()), b'x'))",
        stdout=subprocess.DEVNULL,
    )
    assert "BrokenPipeError" in process.communicate(timeout=60)[1]
    assert process.returncode == 1


def test_control_c_is_one_word() -> None:
    hears = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job is born deaf
    waits = "exit_on_mistake(lambda: [print('up', flush=True), time.sleep(60)])"
    process = start(hears + waits, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("stopped\n", INTERRUPTED)
