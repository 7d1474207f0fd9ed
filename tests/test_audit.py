"""`fieldmark audit`: the same numbers whatever a model is kept as, known answers, and one sentence for each mistake."""

import json
from pathlib import Path

import audited
import numpy as np
import pandas as pd
import pytest
import world
from tracked_project import git

from fieldmark import cli, serve
from fieldmark.audit import command, examples, mapping, words
from fieldmark.audit.audit import MODEL, Audit, audit
from fieldmark.audit.suite import BACKGROUND, OBJECT
from fieldmark.core import layout, store
from fieldmark.core.errors import FieldmarkError
from fieldmark.datasets import shapes
from fieldmark.stats import Interval
from fieldmark.tracking import lineage, model, registry, runs
from fieldmark.tracking.store import connect
from stages import embed, evaluate, pull, split, train, validate

NO = float("nan")
EXPORT = pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning", "ignore::DeprecationWarning")


def look(what: object, root: Path, **more: object) -> Audit:
    return audit(str(what), root, **{"data": "shapes", "count": 40, "looked": 4, **more})  # type: ignore[arg-type]


def values(found: Audit, who: str = MODEL) -> dict[str, float]:
    return {row["metric"]: row["mean"] for row in found.rows if row["model"] == who}


@EXPORT
def test_a_checkpoint_and_its_onnx_export_give_the_same_numbers(network, here: Path, tmp_path: Path) -> None:
    checkpoint = audited.checkpoint(tmp_path / "tiny", network)
    exported = audited.onnx(tmp_path / "export" / "tiny.onnx", network)
    first, second = look(checkpoint, here), look(exported, here)
    assert values(first) == pytest.approx(values(second), abs=1e-4, nan_ok=True)
    assert len(values(first)) >= 15
    np.testing.assert_allclose(first.looks.maps_Lhw, second.looks.maps_Lhw, atol=1e-4)
    assert first.fingerprints["data"] == second.fingerprints["data"]
    assert first.fingerprints["model"] != second.fingerprints["model"]
    assert values(first)["alignment_gap"] > 0.5, "it was taught to lean on the background"
    assert first.said[0].startswith("It leans heavily on the background")


# A model of ours


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with one measured and registered cell."""
    root = tmp_path_factory.mktemp("audit") / "project"
    root.mkdir()
    gate = {"name": "fieldmark", "baseline": "erm", "candidates": [], "minimum_group": 5}
    world.write_params(root, seeds=[1], models={"erm": {}}, register=gate)
    for said in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        git(root, *said)
    params = world.load(root)
    for stage in (pull, validate):
        stage.main(params, root)
    for stage in (split, embed):
        stage.main(params, root, 1)
    folder = layout.trained(root, "erm", 1)
    train.main(params, root, "erm", 1)
    evaluate.main(params, root, "erm", 1)
    fingerprint = lineage.cell_fingerprint(folder)
    with connect(root) as opened:
        run = runs.find_or_restore(opened, runs.parent_run(opened, "p" * 64), "train@erm-1", fingerprint, {}, [])
        example = np.zeros((1, params.size, params.size, 3), np.uint8)
        made = model.log(run, folder, example, fingerprint=fingerprint, loader=serve.LOADER, packages=["numpy"])
        registry.register(
            opened, "fieldmark", run_id=run.run_id, model_id=made, fingerprint=fingerprint, tags={}, description=""
        )
    return root


def test_a_registered_model_gets_the_pipelines_own_numbers(project: Path) -> None:
    params = world.load(project)
    found = audit("models:/fieldmark/1", project, count=10**6, looked=4)
    wanted = store.read_json(layout.evaluated(project, "erm", 1))["test"]
    own = values(found)
    assert {*wanted} <= {*own}, "also acc_trainprior: the training part is the project's own"
    assert own == pytest.approx(own | {metric: facts["value"] for metric, facts in wanted.items()}, abs=1e-4)
    means = {row["group"]: row["mean"] for row in found.groups if row["model"] == MODEL}
    assert means == pytest.approx(wanted["worst_group"]["means"], abs=1e-4)
    assert found.examples.seed == 1 and len(found.examples.recipes) == params.split.test
    said = store.read_table(layout.evaluated(project, "erm", 1).with_suffix(".predictions.parquet"))
    said = said[said["variant"] == "original"].set_index("example_id")["probability"]
    told = found.looks.told.set_index("example_id")["probability"]
    np.testing.assert_allclose(told, said[told.index], atol=1e-4)
    cell = audit(str(layout.trained(project, "erm", 1)), project, count=10**6, looked=4)
    assert values(cell) == pytest.approx(own, abs=1e-6, nan_ok=True)
    assert cell.fingerprints == found.fingerprints


def test_an_audit_can_be_a_run_of_mlflow(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--root", str(project), "audit", "models:/fieldmark/1", "--examples", "8", "--look", "4", "--log"])
    run = capsys.readouterr().out.splitlines()[-1].split()[2]
    with connect(project) as opened:
        data = opened.client.get_run(run).data
        held = {one.path for one in opened.client.list_artifacts(run, "audit")}
    numbers = store.read_json(project / "audit" / "fieldmark-1" / "audit.json")
    (average,) = (row["mean"] for row in numbers["measures"] if (row["model"], row["metric"]) == (MODEL, "average"))
    assert data.metrics["test/average"] == average
    assert held == {"audit/report.html", "audit/audit.json"}
    assert data.tags["fieldmark.model"] == numbers["fingerprints"]["model"]


def test_a_model_of_another_split_is_not_shown_what_it_learnt_from(project: Path) -> None:
    with pytest.raises(FieldmarkError, match=r"0\.parquet is not there: run dvc repro split"):
        audit("blackboxes:Constant", project, seed=0)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ("disc=sand", "no background for the labels .'square'.: the data has .'disc', 'square'."),
        ("disc=sand,square=lava", "the backgrounds .'lava'.: the scenes show .'sand', 'sea'."),
        ("disc=sand,square=sea,duck=sea", "the labels .'duck'.: the data has"),
    ],
)
def test_pairs_that_are_not_of_the_projects_data_are_refused(pairs: str, said: str, project: Path) -> None:
    with pytest.raises(FieldmarkError, match=said):
        audit("models:/fieldmark/1", project, pairs=pairs)


# Known answers


def test_who_reads_the_corners_is_caught(here: Path) -> None:
    found = look("blackboxes:Corners", here)
    own, end = values(found), values(found, BACKGROUND)
    known = {
        "average": 0.5,
        "worst_group": 0.0,
        "alignment_gap": 1.0,
        "named_otherwise": 1.0,
        "follows_background": 1.0,
    }
    assert {metric: own[metric] for metric in known} == known
    assert {metric: end[metric] for metric in known} == known
    assert own["bg_gap"] == end["bg_gap"] and own["acc_mixed_next"] == 0
    assert own["energy_pointing"] < 0.1 or np.isnan(own["energy_pointing"])
    best = values(found, OBJECT)
    assert (best["worst_group"], best["alignment_gap"], best["named_otherwise"]) == (1, 0, 0)
    assert "It loses 100 points [100, 100] when disc stands on sea instead of sand." in found.said
    assert "changes its mind on 100 % [100, 100] of the objects" in " ".join(found.said)


def test_who_says_one_thing_leans_on_nothing(here: Path) -> None:
    found = look("blackboxes:Constant", here)
    own = values(found)
    assert own["average"] == own["follows_background"] == 0.5
    assert own["alignment_gap"] == own["named_otherwise"] == own["bg_gap"] == own["worst_group"] == 0
    assert np.isnan(own["energy_pointing"]), "no patch changes anything"
    assert found.said[0].startswith("No leaning on the background was found")


def test_the_answer_counts_that_the_model_gives(here: Path) -> None:
    found = look("blackboxes:Elsewhere", here, classes="*disc=disc,square=square")
    assert values(found)["average"] == 0, "the argmax is taken over all its classes: it is a cup"
    assert found.classes == {"red disc": "disc", "green disc": "disc", "square": "square"}
    assert set(found.looks.told["predicted"]) == {"something else"}


def test_what_can_not_be_known_is_left_out_and_said(here: Path) -> None:
    found = look("blackboxes:Constant", here)
    assert found.left_out == {"acc_trainprior": "needs train_groups, which is not known of this model"}
    assert all("train" not in row["metric"] for row in found.rows)


# Class mapping


def test_a_mapping_is_text_or_a_file_in_either_direction(tmp_path: Path) -> None:
    model_says = ["tabby, tabby cat", "house finch, linnet", "goldfinch", "laptop"]
    wanted = [1, 0, 0, -1]
    (tmp_path / "lists.yaml").write_text('bird: ["*finch"]\nland mammal: [tabby cat]\n')
    (tmp_path / "names.yaml").write_text("tabby: land mammal\nHouse Finch: bird\ngoldfinch: bird\n")
    for given in ("*finch=bird, tabby=land mammal", str(tmp_path / "lists.yaml"), str(tmp_path / "names.yaml")):
        assert mapping.mapped(model_says, ["bird", "land mammal"], given).tolist() == wanted
    assert mapping.mapped(["b", "a"], ["a", "b"], None).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"stands for bird: the model says duck, cup; the data has bird; .*--classes 'duck=bird'"),
        ("duck=fish", "maps 'duck' to 'fish', which the data does not have"),
        ("goose=bird", "names 'goose', which the model never says"),
        ("nowhere.yaml", "neither a mapping nor a YAML file"),
    ],
)
def test_a_mapping_that_leads_nowhere_names_both_sides(given, said) -> None:
    with pytest.raises(FieldmarkError, match=said):
        mapping.mapped(["duck", "cup"], ["bird"], given)


def test_a_class_stands_for_one_thing_only() -> None:
    with pytest.raises(FieldmarkError, match="maps 'duck' to both 'bird' and 'food'"):
        mapping.mapped(["duck", "cup"], ["bird", "food"], "duck=bird,d*=food")


# Words


def test_saidsay_what_numbers_say() -> None:
    assert words.verdict(Interval(0.08, 0.02, 0.14, 9, 1)).startswith("It leans clearly on the background: the usual")
    assert words.verdict(Interval(0.03, 0.01, 0.05, 9, 1)).startswith("It leans a little on")
    assert words.verdict(Interval(-0.08, -0.14, -0.02, 9, 1)).endswith("the usual one costs 8 points [2, 14].")
    assert words.verdict(Interval(NO, NO, NO, 0, 1)).endswith("a group of examples is empty.")


# What is written


def test_the_command_writes_a_page_and_numbers_and_says_what_it_found(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = ["--root", str(here), "audit", "blackboxes:Corners", "--data", "shapes", "--examples", "40", "--look", "4"]
    written = []
    for name in ("first", "second"):
        cli.main([*ask, "--out", str(tmp_path / name)])
        written.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert written[0] == written[1] and set(written[0]) == {"report.html", "audit.json"}
    said = capsys.readouterr().out
    assert "It leans heavily on the background: the usual one is worth 100 points [100, 100]." in said
    assert max(map(len, said.splitlines())) <= 130
    numbers, html = json.loads(written[0]["audit.json"]), written[0]["report.html"].decode()
    assert numbers["said"][0] in html
    assert "Champion" not in html and 'id="gate"' not in html and 'id="claims"' not in html
    assert set(numbers["fingerprints"]) == {"model", "data", "code"}
    assert numbers["model"]["files"] == {"blackboxes.py": store.sha256(Path(__file__).with_name("blackboxes.py"))}
    measures = {(row["model"], row["metric"]): row for row in numbers["measures"]}
    assert len({model for model, _ in measures}) == 3
    for row in measures.values():
        assert row["meaning"] and {"mean", "low", "high", "n", "chance", "higher_is_better"} <= {*row}


def test_a_folder_gets_a_name() -> None:
    assert command.name("models:/fieldmark@champion") == "fieldmark@champion"
    assert command.name("service.model:box") == "service.model-box"


# Data


def test_own_pictures_are_shown_to_a_model(here: Path, tmp_path: Path) -> None:
    own = pictures(tmp_path / "mine")
    found = look("blackboxes:Corners", here, data=str(own), pairs="disc=sand,square=sea")
    assert found.examples.about.startswith("8 objects on 4 scenes of mine")
    assert values(found)["alignment_gap"] == 1
    with pytest.raises(
        FieldmarkError, match="of sand, sea each of disc, square usually stands, such as --pairs 'disc=sand"
    ):
        look("blackboxes:Corners", here, data=str(own))


def pictures(folder: Path) -> Path:
    """Write cut-outs and scenes as a user would keep them."""
    raw = folder.with_name("raw")
    raw.mkdir()
    shapes.pull(raw, objects_per_class=4, scenes_per_background=2)
    for row in shapes.index(raw).itertuples():
        kind, what = ("objects", row.label) if row.role == "cutout" else ("scenes", row.background)
        path = folder / kind / what / f"{Path(row.source_id).name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((raw / row.shard).read_bytes()[row.offset : row.offset + row.bytes])
    return folder


def test_fewer_examples_are_as_many_of_each_group_whatever_their_order() -> None:
    recipes = pd.DataFrame({"example_id": [f"e{i}" for i in range(40)], "group": list("abcd") * 10})
    few = examples.chosen(recipes, 12)
    assert few["group"].value_counts().to_dict() == dict.fromkeys("abcd", 3)
    again = examples.chosen(recipes.sample(frac=1, random_state=0), 12)
    assert sorted(few["example_id"]) == sorted(again["example_id"])


def test_own_pictures_go_through_the_pipeline(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    own = pictures(tmp_path / "mine")
    sizes = {"recipe": "spurious", "correlation": 0.75, "train": 16, "val": 4, "test": 8}
    pairs = {"disc": "sand", "square": "sea"}
    dataset = {"name": "folder", "options": {"path": str(own)}}
    world.write_params(tmp_path / "project", dataset=dataset, split={**sizes, "pairs": pairs, "options": {}})
    params = world.load(tmp_path / "project")
    for stage in (pull, validate):
        stage.main(params, tmp_path / "project")
    split.main(params, tmp_path / "project", 0)
    found = store.read_table(layout.split(tmp_path / "project", params, 0))
    assert found["part"].value_counts().to_dict() == {"train": 16, "train_unbiased": 16, "val": 4, "test": 8}
