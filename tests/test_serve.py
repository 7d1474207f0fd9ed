"""A classifier by itself, from its folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tracked_project as project

from fieldmark import serve
from fieldmark.core.errors import FieldmarkError
from fieldmark.core.store import read_json

OTHER = "0" * 64  # fingerprint of nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.classifier(tmp_path_factory.mktemp("serve") / "erm-0")


def test_a_classifier_answers_for_images_of_any_size(folder: Path) -> None:
    classifier = serve.Classifier.load(folder)
    image_HW3 = project.pictures(1)[0]
    answer = classifier.predict([image_HW3, image_HW3[:, 10:90]])  # the second is the centred square of the first
    assert np.array_equal(answer.probabilities[0], answer.probabilities[1])
    assert np.allclose(answer.probabilities.sum(1), 1)
    assert answer.label[0] == ("disc", "square")[int(answer.probabilities[0].argmax())]
    with pytest.raises(FieldmarkError, match="convert it to RGB"):
        classifier.predict([image_HW3[..., 0]])


def test_a_classifier_refuses_other_weights_and_controls(folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder, tmp_path / "cell")
    config = read_json(folder / "config.json")
    for change, words in (
        (
            {"backbone": {**config["backbone"], "fingerprint": OTHER}},
            "has the weights [0-9a-f]{12}, .*trained on 000000000000",
        ),
        ({"model": "oracle_mask"}, "reads the true mask"),
        ({"classes": ["a", "b", "c"]}, "does not hold the weights"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(FieldmarkError, match=words):
            serve.Classifier.load(folder)


def test_an_overlay_is_dark_where_the_model_did_not_look() -> None:
    white_HW3 = np.full((64, 64, 3), 255, np.uint8)
    painted = np.asarray(serve.overlay(white_HW3, np.array([[1.0, 0.0]], np.float32), size=4))
    assert painted[:, :2].tolist() == np.full((4, 2, 3), 255).tolist()
    assert painted[:, 2:].tolist() == np.full((4, 2, 3), 63).tolist()
