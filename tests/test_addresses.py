"""Where MLflow is: an address that is none is one sentence, a password is for the server, and reading makes nothing."""

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from fieldmark import cli, doctor
from fieldmark.core.errors import FieldmarkError, TryAgainError
from fieldmark.tracking import database, pages


class Health(BaseHTTPRequestHandler):
    """A server that answers, and remembers who asked."""

    asked: list[str | None] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """Yield host and port of a server that answers."""
    with HTTPServer(("127.0.0.1", 0), Health) as made:
        Health.asked.clear()
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_port}"
        made.shutdown()


def test_a_password_reaches_the_server_and_no_screen(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(database.NAMED, f"http://bob:hunter%402@{server}")
    assert database.prepare(tmp_path) == f"http://bob:hunter%402@{server}"
    assert Health.asked == ["Basic " + base64.b64encode(b"bob:hunter@2").decode()]
    for word in ("doctor", "ui"):
        cli.main(["--root", str(tmp_path), word])
    said = capsys.readouterr().out
    assert said.count(f"http://{server}") == 2
    assert "hunter" not in said and "bob" not in said


def test_a_password_is_not_in_what_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    monkeypatch.setenv(database.NAMED, "http://bob:hunter2@127.0.0.1:9")
    with pytest.raises(TryAgainError, match=r"^MLflow at http://127.0.0.1:9 does not answer"):
        database.prepare(tmp_path)


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("localhost:5000", "'localhost:5000' (it lacks http:// or the name of a file)"),
        ("bob:hunter2@localhost:5000", "'localhost:5000' (Model registry functionality is unavailable"),
        ("sqlite:///", "'sqlite:///' (it lacks http:// or the name of a file)"),
        ("sqlite://mlflow.db", "'sqlite://mlflow.db' (it lacks http:// or the name of a file)"),
        ("http://", "'http://' (it names no host, or a port that is none)"),
        ("http://bob:hun/ter2@host:80", "'http://host:80' (it names no host, or a port that is none)"),
        ("http://localhost:99999", "'http://localhost:99999' (it names no host, or a port that is none)"),
        ("http://a b", "'http://a b' (URL can't contain control characters"),
        ("file:///nowhere/mlruns", "'file:///nowhere/mlruns' (The filesystem tracking backend"),
        ("postgresql://bob:hunter2@localhost/db", "'postgresql://localhost/db' (No module named 'psycopg"),
        ("ftp://host", "'ftp://host' ("),
        ("databricks", "'databricks' ("),
    ],
)
def test_what_can_not_be_opened_is_one_sentence(
    uri: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(database.NAMED, uri)
    for word in ("why", "ui"):
        with pytest.raises(SystemExit) as end:
            cli.main(["--root", str(tmp_path), word])
        said = capsys.readouterr().err
        assert end.value.code == 1
        assert said.startswith(f"fieldmark: MLflow can't open {found}")
        assert said.endswith(
            "): set MLFLOW_TRACKING_URI to http://HOST:PORT or sqlite:////ABSOLUTE/PATH.db, or unset it to use the "
            "project's own database.\n"
        )
        assert said.count("\n") == 1 and "hun" not in said
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_sees_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(database.NAMED, "localhost:5000")
    found = {one.what: one for one in doctor.examine(tmp_path)}["mlflow"]
    assert not found.good and "http://HOST:PORT" in found.advice


def test_a_place_where_one_may_not_write_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(database.NAMED, f"sqlite:///{tmp_path}/file/m.db")
    with pytest.raises(FieldmarkError, match=r"can't be kept in .*/file \((File exists|Not a directory)\): make that"):
        database.prepare(tmp_path)


@pytest.mark.parametrize("words", [["why"], ["trace"], ["predict", "picture.png"]])
def test_reading_where_nothing_is_on_record_makes_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fieldmark.pictures.read_image", lambda path: path)
    for named in (None, f"sqlite:///{tmp_path}/typo/m.db"):
        if named:
            monkeypatch.setenv(database.NAMED, named)
        with pytest.raises(SystemExit):
            cli.main(["--root", str(tmp_path), *words])
        where, otherwise = (f"{tmp_path}/typo/m.db", "correct") if named else (tmp_path, "name the project's folder")
        said = capsys.readouterr().err
        assert said.startswith(f"fieldmark: nothing is on record in {where}: run make repro, or {otherwise}")
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(FieldmarkError, match=rf"no port {taken} for a server \(Address already in use\).*--port"):
            pages.free(taken)
    assert pages.free(taken) == taken
    assert pages.free(0) > 0
    for port in (-1, 99999):
        with pytest.raises(FieldmarkError, match=rf"no port {port} for a server \(ports go up to 65535\)"):
            pages.free(port)
