import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fieldmark.core import contracts, errors, params, plugins, store, tables

ROOT = Path(__file__).parent.parent


def written(tmp_path: Path, **changes: object) -> Path:
    """Write the project's params.yaml with top-level ``changes`` and return its path."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**values, **changes}))
    return path


def test_the_shipped_parameters_load() -> None:
    loaded = params.load(ROOT / "params.yaml")
    assert loaded.split.pairs == {"bird": "water", "land mammal": "land"}


def test_drawn_shapes_are_the_same_job_on_other_data() -> None:
    ours, shapes = (yaml.safe_load((ROOT / name).read_text()) for name in ("params.yaml", "params/shapes.yaml"))
    assert {key for key in ours if ours[key] != shapes[key]} == {"dataset", "size", "split"}
    assert {key for key in ours["split"] if ours["split"][key] != shapes["split"][key]} == {"pairs"}
    assert params.load(ROOT / "params" / "shapes.yaml").models == params.load(ROOT / "params.yaml").models


def test_the_smoke_parameters_load() -> None:
    assert params.load(ROOT / "params" / "smoke.yaml").dataset.name == "shapes"


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.FieldmarkError, match=r"params\.yaml: unknown key 'sede': remove it or correct"):
        params.load(written(tmp_path, sede=[1]))


def test_an_unknown_model_lists_the_right_ones(tmp_path: Path) -> None:
    with pytest.raises(errors.FieldmarkError, match=r"no 'ermm' in fieldmark/models/ \(there is .*erm, .*ersm"):
        params.load(written(tmp_path, models={"ermm": {}}))


def test_a_value_out_of_range_is_named(tmp_path: Path) -> None:
    split = {**yaml.safe_load((ROOT / "params.yaml").read_text())["split"], "correlation": 1.5}
    with pytest.raises(errors.FieldmarkError, match=r"'split.correlation' is 1.5: .*less than or equal to 1"):
        params.load(written(tmp_path, split=split))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seeds": [-1]}, "'seeds.0' is -1: Input should be greater than or equal to 0"),
        ({"seeds": [0, 1, 0]}, r"seeds are \[0, 1, 0\]: name each once"),
        (
            {"models": {"erm": 3, "ersm": {}}},
            r"params.yaml: 'models.erm' is 3: Input should be a valid dictionary or .*",
        ),
        ({"train": None}, "params.yaml: 'train' is None: Input should be a valid dictionary"),
        (
            {"register": {"name": "a/b", "baseline": "erm", "candidates": [], "minimum_group": 1}},
            "register.name' is 'a/b'",
        ),
        ({"stats": {"draws": 1, "level": 0.9, "cluster": []}}, r"'stats.cluster' is \[\]: List should have at least 1"),
        ({"stats": {"draws": 1, "level": 0.9, "cluster": ["fg_source"] * 2}}, "stats.cluster are .*: name each once"),
        ({"embed": {"batch": 1, "views": []}}, r"'embed.views' is \[\]: List should have at least 1"),
    ],
)
def test_only_what_is_wrong_is_named(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(errors.FieldmarkError, match=f"{sentence}[^;]*$"):
        params.load(written(tmp_path, **changes))


def test_the_gates_own_measure_can_not_be_left_out(tmp_path: Path) -> None:
    evaluate = {"tests": {"average": {}}, "validation": ["average"], "variants": ["original"]}
    with pytest.raises(errors.FieldmarkError, match="must name worst_group, by which the gate decides"):
        params.load(written(tmp_path, evaluate=evaluate))
    evaluate = {"tests": {"worst_group": {}}, "validation": ["worst_group"], "variants": ["only_fg"]}
    with pytest.raises(errors.FieldmarkError, match=r"variants are \['only_fg'\]: add original"):
        params.load(written(tmp_path, evaluate=evaluate))


def test_one_class_is_no_classification(tmp_path: Path) -> None:
    split = {**yaml.safe_load((ROOT / "params.yaml").read_text())["split"], "pairs": {"bird": "water"}}
    with pytest.raises(errors.FieldmarkError, match="'split.pairs' is .*at least 2 items"):
        params.load(written(tmp_path, split=split))


def test_a_control_is_no_candidate(tmp_path: Path) -> None:
    register = {"name": "m", "baseline": "erm", "candidates": ["oracle_mask"], "minimum_group": 1}
    with pytest.raises(errors.FieldmarkError, match="register names oracle_mask, but 'oracle_mask' is a control"):
        params.load(written(tmp_path, register=register))


def test_parameters_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("size: 160  # größe".encode("latin-1"))
    with pytest.raises(errors.FieldmarkError, match="can't be read .*: save it as a text file in UTF-8"):
        params.load(path)
    with pytest.raises(errors.FieldmarkError, match="can't be read"):
        params.load(tmp_path)


def test_a_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    with pytest.raises(errors.FieldmarkError, match="run the command from the project's folder"):
        params.load(tmp_path / "params.yaml")


def test_a_stage_ends_with_one_sentence_and_no_trace(tmp_path: Path) -> None:
    written(tmp_path, sede=[1])
    run = subprocess.run(
        [sys.executable, "-m", "stages.pull"],
        cwd=ROOT,
        env={"DVC_ROOT": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr == "fieldmark: params.yaml: unknown key 'sede': remove it or correct its spelling.\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def test_an_unknown_plugin_lists_the_room() -> None:
    with pytest.raises(errors.FieldmarkError, match=r"no 'nothing' in fieldmark/models/: use one of .*erm"):
        plugins.find("models", "nothing")


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("ersm", {"pair": False}, "ersm.build's pair is False: Input should be 'feature8'"),  # YAML's `off`
        ("ersm", {"gate": "hard"}, "gate is 'hard': Input should be 'soft' or 'ste'; correct params.yaml"),
        ("ifam", {"coupling": "sequental"}, "'joint', 'detached' or 'sequential'"),
        ("two_stage", {"fill": "gray"}, "fill is 'gray'"),
        ("two_stage", {"sides": 0.5}, "sides is 0.5: Input should be"),
        ("ersm", {"lam": "much"}, "lam is 'much': Input should be a valid number"),
    ],
)
def test_an_option_of_another_type_is_named(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(errors.FieldmarkError, match=sentence):
        plugins.accepted(plugins.find("models", name).build, options)


def test_every_preset_gives_its_models_options_they_take() -> None:
    for path in [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))]:
        for model in params.load(path).models.values():
            build = plugins.find("models", model.plugin).build
            assert set(plugins.accepted(build, model.options)) == set(model.options)


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), store.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert store.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with store.atomic(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


FULL = """
import sys
from pathlib import Path
from fieldmark.core import errors, store
folder = Path(sys.argv[1])
store.write_json(folder / "a.json", {"a": 1})
errors.exit_on_mistake(lambda: store.write_json(folder / "a.json", {"a": "x" * 200_000}))
"""


def test_a_full_disk_is_one_sentence_and_nothing_half_written(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = (
        f'mount -t tmpfs -o size=64k tmpfs "{disk}"; "{sys.executable}" -c "$CODE" "{disk}"; echo $?; '
        f'cd "{disk}"; ls -A; cat a.json'
    )
    run = subprocess.run(  # a mount of its own: nothing outside this process sees it
        ["unshare", "--map-root-user", "--mount", "sh", "-c", inside],
        cwd=ROOT,
        env={"CODE": FULL, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
    )
    assert "the disk is full" in run.stderr and "Traceback" not in run.stderr
    assert run.stdout.split() == ["1", "a.json", "{", '"a":', "1", "}"]


def test_a_place_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.FieldmarkError, match="file/a.json can't be written .*one you may write to"):
        store.write_json(tmp_path / "file" / "a.json", {})


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    for name in ("one", "two"):
        store.write_table(tmp_path / name, table)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    pd.testing.assert_frame_equal(store.read_table(tmp_path / "one"), table)


def test_a_table_with_a_wrong_column_is_refused() -> None:
    with pytest.raises(errors.FieldmarkError, match=r"missing \['b'\], unknown \['c'\]"):
        tables.conform(pd.DataFrame({"a": [1], "c": [2]}), {"a": "int64", "b": "str"})


def scored(combine: str, weights: dict[str, float] | None = None) -> contracts.Score:
    """Cells: a = {1, 0} (mean .5), b = {1, NaN} (mean 1), c = {NaN} (unknown)."""
    values = np.array([1, 0, 1, np.nan, np.nan])
    return contracts.Score(values, np.array(["a", "a", "b", "b", "c"]), np.arange(5), combine, weights=weights)


def test_cell_means_leave_out_the_unknown() -> None:
    score = scored("mean", {"a": 1, "b": 1})
    assert score.means() == {"a": 0.5, "b": 1.0}
    assert score.counts() == {"a": 2, "b": 1}
    assert score.value == 0.75


def test_worst_weighted_and_the_other_ways_to_combine() -> None:
    assert scored("worst", {"a": 1, "b": 1}).value == 0.5
    assert scored("mean", {"a": 3, "b": 1}).value == 0.625
    assert scored("contrast", {"a": -1, "b": 1}).value == 0.5
    assert scored("absolute", {"a": 1, "b": 1}).value == 1.5
    assert scored("relative", {"a": -1, "b": 1}).value == 1  # half of .5, of the .25 that a mean of .75 leaves


@pytest.mark.parametrize("combine", contracts.COMBINE)
def test_an_empty_cell_makes_the_measure_unknown(combine: str) -> None:
    assert math.isnan(scored(combine).value)
    assert scored(combine).counts() == {"a": 2, "b": 1, "c": 0}


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    dead = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f".a.json.{dead}.x").mkdir()
    (tmp_path / f".a.json.{dead}.x" / "a.json").write_text("half")
    store.write_json(tmp_path / "a.json", 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]
