"""Whose server answers: ours, that of another process of this project, or a stranger's. Without Prefect itself."""

import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socket import create_connection, create_server
from typing import Any

import pytest
from waiting import until

from fieldmark.core.errors import FieldmarkError
from pipelines import local

Started = list["subprocess.Popen[bytes]"]

#: Stands for ``prefect server start``: it takes a moment to listen, and then says yes to all.
SLOW = """
import sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Yes(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
time.sleep(1)
HTTPServer(("127.0.0.1", int(sys.argv[-1])), Yes).serve_forever()
"""


class Yes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[HTTPServer]:
    """Something that answers every request, as another project's server would."""
    with HTTPServer(("127.0.0.1", 0), Yes) as other:
        threading.Thread(target=other.serve_forever).start()
        yield other
        other.shutdown()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Let a small server stand for Prefect's; those that were started."""
    processes = []

    def start(server: local.Server, *words: str, log: object = None) -> "subprocess.Popen[bytes]":
        processes.append(subprocess.Popen([sys.executable, "-c", SLOW, *words], stderr=subprocess.DEVNULL))
        return processes[-1]

    monkeypatch.setattr(local.Server, "prefect", start)
    yield processes
    assert all(process.wait(30) is not None for process in processes)


def test_a_port_that_is_taken_is_refused_before_anything_starts(
    stranger: HTTPServer, started: Started, tmp_path: Path
) -> None:
    sentence = (
        f"can't listen on port {stranger.server_port} .*in use.*: stop what .* `python -m pipelines.serve --port N`"
    )
    with pytest.raises(FieldmarkError, match=sentence), local.server(tmp_path, stranger.server_port):
        pass
    assert not started


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_a_sentence(port: int, tmp_path: Path) -> None:
    with pytest.raises(FieldmarkError, match=f"port {port} .*0-65535"), local.server(tmp_path, port):
        pass


def test_a_port_whose_last_connection_is_closing_is_free() -> None:
    with create_server(("127.0.0.1", 0)) as old:
        port = old.getsockname()[1]
        with closing(create_connection(("127.0.0.1", port))) as other:
            old.accept()[0].close()  # who closes first waits
            assert other.recv(1) == b""
    assert local.free_port(port) == port


def test_a_stranger_that_was_faster_is_not_taken_for_ours(
    stranger: HTTPServer, started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "free_port", lambda port: port)  # as it was a moment ago
    with (
        pytest.raises(FieldmarkError, match=f"did not start at http://127.0.0.1:{stranger.server_port} "),
        local.server(tmp_path, stranger.server_port),
    ):
        pass
    assert len(started) == 1


def test_who_comes_second_waits_for_the_server_that_is_starting(started: Started, tmp_path: Path) -> None:
    (tmp_path / local.LOCK).write_text("http://127.0.0.1:1")  # of the last run
    found: list[local.Server] = []
    second = threading.Thread(target=lambda: found.append(entered(tmp_path)))
    with local.server(tmp_path) as first:
        assert first.ours
        second.start()
        time.sleep(0.5)
        assert not found, "it knows no deployment yet"
        first.announce()
        second.join(30)
        assert found == [first._replace(ours=False)]
    assert len(started) == 1


def test_while_it_starts_nothing_of_the_last_run_is_read(
    stranger: HTTPServer, started: Started, tmp_path: Path
) -> None:
    (tmp_path / local.LOCK).write_text(f"http://127.0.0.1:{stranger.server_port}")
    first = threading.Thread(target=lambda: entered(tmp_path))
    first.start()
    until(lambda: started)
    assert (tmp_path / local.LOCK).read_text() == ""
    assert entered(tmp_path).ours, "the first ended without a word, so the second starts its own"
    first.join(30)
    assert len(started) == 2


def test_waiting_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PATIENCE", 0.5)
    with (tmp_path / local.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sentence = "another process keeps .*server.lock, .* see .*server.log, or stop that process"
        with pytest.raises(FieldmarkError, match=sentence), local.server(tmp_path):
            pass


def entered(home: Path) -> local.Server:
    """Return what another process would get."""
    with local.server(home) as at:
        return at
