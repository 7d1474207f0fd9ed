"""The command `fieldmark`, on a project with a registered champion."""

import json
import shutil
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
import tracked_project as project
from PIL import Image
from tracked_project import CELL, git

from fieldmark import cli, doctor, serve
from fieldmark.core import layout, plugins
from fieldmark.core.errors import TRY_AGAIN
from fieldmark.tracking import database, gate, ledger, lineage, publish, registry
from fieldmark.tracking.store import connect
from fieldmark.tracking.why import Card

CARD: Card = {
    "about": "erm, seed 0: looks everywhere",
    "data": "shapes",
    "commit": "abc",
    "models": ["erm", "random_mask"],
    "metrics": ["average", "worst_group"],
    "rows": [
        {"model": "erm", "metric": "average", "mean": 0.9, "low": 0.8, "high": 0.95},
        {"model": "erm", "metric": "worst_group", "mean": 0.7, "low": 0.6, "high": None},
        {"model": "random_mask", "metric": "average", "mean": 0.5, "low": 0.4, "high": 0.6},
    ],
}


@pytest.fixture(scope="module")
def champion(mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project whose cell was registered as the first champion."""
    root = project.make(tmp_path_factory.mktemp("cli") / "project", mlruns)
    run, version = project.register(root, [])
    decision, lines = gate.first("erm"), layout.ledger(root)
    with connect(root) as store:
        run.log_json(CARD, publish.CARD)
        ledger.append(lines, decision, model="fieldmark", challenger="1", champion=None, lineage={"1": "abc"})
        registry.promote(store, version, decision)
    return root


def say(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(["--root", str(root), *arguments])
    return capsys.readouterr().out


def fail(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 1) -> str:
    with pytest.raises(SystemExit) as end:
        cli.main(["--root", str(root), *arguments])
    assert end.value.code == code
    return capsys.readouterr().err


def test_help_tells_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in ("trace", "why", "verify", "predict", "audit", "doctor", "ui"))


def test_trace_goes_from_the_alias_to_the_sources(champion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = lineage.sources(champion / "data" / "raw" / "shapes" / "index.parquet")
    found = json.loads(say(champion, capsys, "trace", "--json"))
    assert found["sources"] == sources
    commit = git(champion, "rev-parse", "HEAD").strip()
    text = say(champion, capsys, "trace", "erm-0")
    assert text.startswith(f"{CELL}\n├─ commit {commit}\n")
    assert all(f"{source}  sha256 {digest}" in text for source, digest in sources.items())


def test_why_fits_on_one_screen(champion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = say(champion, capsys, "why").splitlines()
    assert len(lines) < 24
    assert lines[0] == "fieldmark 1 (champion)"
    assert lines[5].startswith("  gate     promote, no champion before it, 20")
    assert "yes first champion: the baseline, nothing to compare with: erm" in lines[6]
    assert lines[-3].split() == ["average", "worst_group"]
    assert lines[-2] == "  erm          0.900 [0.800, 0.950]  0.700 [0.600, unknown]"
    assert lines[-1] == "  random_mask  0.500 [0.400, 0.600]  unknown"


def noise(folder: Path) -> list[str]:
    """Write two pictures of the same name and return their paths."""
    paths = [folder / side / "noise.png" for side in ("left", "right")]
    for path, picture in zip(paths, project.pictures(2), strict=True):
        path.parent.mkdir()
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


def test_predict_prints_columns_and_paints(champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = noise(tmp_path)
    lines = say(champion, capsys, "predict", *paths, "--overlays", str(tmp_path / "out")).splitlines()
    assert lines[0].split() == ["image", "class", "probability", "mask", "area"]
    assert len({len(line) for line in lines}) == 1, "columns are aligned"
    for path, line in zip(paths, lines[1:], strict=True):
        name, label, probability, area = line.split()
        assert (name, area) == (path, "1.000") and label in ("disc", "square")  # erm looks everywhere
        assert 0.5 <= float(probability) <= 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["noise-2.png", "noise.png"]
    with Image.open(tmp_path / "out" / "noise.png") as painted:
        assert painted.size == (320, 320)


def test_predict_says_that_other_code_answers(
    champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["--root", str(champion), "predict", *noise(tmp_path)]
    cli.main(asked)
    assert "code has changed" not in capsys.readouterr().err
    monkeypatch.setattr(plugins, "code", lambda: "another")
    cli.main(asked)
    assert "code has changed since models:/fieldmark@champion was registered" in capsys.readouterr().err


def test_predict_tells_machines_all_it_knows(
    champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths, classifier = noise(tmp_path), serve.Classifier.load(champion / "data" / "trained" / "erm-0")
    half = np.zeros((80, 100), np.uint8)
    half[:, :50] = 255
    Image.fromarray(half).save(tmp_path / "half.png")
    rows = json.loads(say(champion, capsys, "predict", *paths, "--json", "--mask", str(tmp_path / "half.png")))
    expected = classifier.predict(project.pictures(2), keep=[half > 0] * 2)
    assert [row["image"] for row in rows] == paths
    assert [row["class"] for row in rows] == expected.label.tolist()
    assert [row["mask_area"] for row in rows] == [0.5, 0.5]
    for row, probability_K in zip(rows, expected.probabilities.tolist(), strict=True):
        assert row["probabilities"] == pytest.approx(dict(zip(("disc", "square"), probability_K, strict=True)))
        assert row["probability"] == pytest.approx(max(probability_K))


def test_mistakes_are_one_sentence(
    champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.png").write_text("no picture")
    assert fail(champion, capsys, "predict", str(tmp_path / "x.png")).startswith(
        f"fieldmark: {tmp_path}/x.png can't be read"
    )
    (picture,) = noise(tmp_path)[:1]
    assert "'erm' has no parts to drop" in fail(champion, capsys, "predict", picture, "--drop-part", "0")
    small = tmp_path / "small.png"
    Image.new("L", (7, 9)).save(small)
    assert "a mask is 9 x 7 and its image 80 x 100" in fail(champion, capsys, "predict", picture, "--mask", str(small))
    said = fail(champion, capsys, "trace", "nope-0")
    assert "dvc.lock does not know 'train@nope-0' (of 4 stages, nearest are train@erm-0, " in said
    assert "dvc repro" not in said
    assert "the registry has no models:/fieldmark@nobody" in fail(champion, capsys, "why", "models:/fieldmark@nobody")
    monkeypatch.setattr(database, "PATIENCE", 0.1)
    holder = sqlite3.connect(champion / "mlruns" / "mlflow.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert fail(champion, capsys, "why", code=TRY_AGAIN).count("\n") == 1
    holder.close()


def test_verify_says_yes_or_names_the_file(champion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "all is as written down: outputs, sources, ledger, champion" in say(champion, capsys, "verify")
    for path, words in {
        champion / "data" / "trained" / "erm-0" / "config.json": "data/trained/erm-0 is not what dvc.lock says",
        champion / "data" / "raw" / "shapes" / "shard.tar": "source 'a' in",
        layout.ledger(champion): "ledger.jsonl: line 1",
        champion / "dvc.lock": "dvc.lock",
        next((champion / "mlruns").rglob("weights.safetensors")): "weights.safetensors is not what its",
    }.items():
        whole = path.read_bytes()
        path.write_bytes(b"?" + whole[1:])
        assert words in fail(champion, capsys, "verify")
        path.write_bytes(whole)
    say(champion, capsys, "verify")


def test_verify_and_why_see_a_champion_that_the_gate_did_not_choose(
    champion: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = layout.ledger(champion)
    whole = lines.read_bytes()
    lines.unlink()
    for said in (fail(champion, capsys, "verify"), say(champion, capsys, "why")):
        assert "there is a champion (version 1) and no promotion in the ledger" in said
    lines.write_bytes(whole)
    with connect(champion) as store:
        one = registry.resolve(store, "models:/fieldmark@champion")
        two = registry.register(
            store, "fieldmark", run_id=one.run_id, model_id=one.model_id, fingerprint="2", tags={}, description=""
        )
        store.client.set_registered_model_alias("fieldmark", "champion", two.version)  # as a click does
        for said in (fail(champion, capsys, "verify"), say(champion, capsys, "why")):
            assert "the champion is version 2, but the ledger's last promotion is of version 1: somebody moved" in said
        store.client.delete_registered_model_alias("fieldmark", "champion")
        assert "there is no champion, but the ledger's" in fail(champion, capsys, "verify")
        registry.promote(store, one, gate.first("erm"))
    say(champion, capsys, "verify")
    assert "MIND" not in say(champion, capsys, "why")


def test_verify_makes_no_store(champion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = shutil.copytree(champion, tmp_path / "copy", ignore=shutil.ignore_patterns("mlruns", "registered"))
    assert "(there is no champion yet)" in say(root, capsys, "verify")
    assert not (root / "mlruns").exists()


def test_the_champion_is_of_the_name_that_the_parameters_register(tmp_path: Path) -> None:
    assert registry.champion_uri(tmp_path) == "models:/fieldmark@champion"
    for text, name in {
        "register: {name: birds}\nsize: -3": "birds",
        "register: [": "fieldmark",
        "3": "fieldmark",
    }.items():
        (tmp_path / "params.yaml").write_text(text)
        assert registry.champion_uri(tmp_path) == f"models:/{name}@champion"


def test_a_renamed_champion_is_found(champion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = champion / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("name: fieldmark", "name: birds"))
    for words in (["why"], ["trace"]):
        assert "the registry has no models:/birds@champion" in fail(champion, capsys, *words)
    params.write_text(text)


def test_show_names_a_report_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = layout.report(tmp_path)
    folder.mkdir(parents=True)
    shutil.copy(layout.report(project.ROOT) / "leaderboard.json", folder)
    assert "the report     not made here yet: run make repro" in say(tmp_path, capsys, "show")
    (folder / "report.html").touch()
    assert f"the report     {folder}/report.html" in say(tmp_path, capsys, "show")


def test_a_folder_that_is_none_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("doctor", "ui", "why", "verify"):
        said = fail(tmp_path / "none", capsys, word)
        assert said == f"fieldmark: {tmp_path}/none is no folder: name the project's with --root.\n"
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_to_do(
    champion: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def findings() -> dict[str, doctor.Finding]:
        return {one.what: one for one in doctor.examine(champion)}

    assert findings()["git"].good
    assert findings()["mlflow"].found == database.address(champion)
    assert (findings()["packages"].good, findings()["packages"].advice) == (False, "run make setup and use .venv/bin")
    monkeypatch.setenv("PATH", "")
    assert findings()["apt"].advice.endswith("cp params/shapes.yaml params.yaml")
    assert (findings()["report"].good, findings()["report"].found) == (False, "not made here yet")
    page = layout.report(champion) / "report.html"
    page.parent.mkdir(exist_ok=True)
    page.touch()
    assert (findings()["report"].good, findings()["report"].found) == (True, str(page))
    shutil.rmtree(page.parent)
    assert "MIND git" in say(champion, capsys, "doctor")


def test_the_doctor_minds_a_gpu_that_torch_can_not_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gpu() -> tuple[bool, str]:
        found = {one.what: one for one in doctor.examine(tmp_path)}["gpu"]
        return found.good, found.found

    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu() == (True, "none: training runs on the CPU")
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu() == (False, f"there is one, but torch {torch.__version__} can't use it")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "H100")
    assert gpu() == (True, "H100")


def test_the_pages_open_on_this_machine_only(
    champion: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # what ui sets: the test leaves no trace of it
    monkeypatch.setattr("os.execv", lambda _program, arguments: started.append(arguments))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        other.listen()
        assert f"127.0.0.1 has no port {port} for a server" in fail(champion, capsys, "ui", "--port", port)
        assert "no port 99999" in fail(champion, capsys, "ui", "--port", "99999")
    assert started == []
    assert f"http://127.0.0.1:{port}" in say(champion, capsys, "ui", "--port", port)
    assert started[0][-6:] == ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
