"""Somebody else's model, as a black box: whatever it is kept as, it answers the same."""

import json
from contextlib import ExitStack
from pathlib import Path

import audited
import numpy as np
import onnx
import pytest
import transformers

from fieldmark.audit import opening
from fieldmark.classifiers import _pixels, onnx_file
from fieldmark.core import plugins
from fieldmark.core.errors import FieldmarkError

EXPORT = pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning", "ignore::DeprecationWarning")


@EXPORT
def test_an_onnx_file_says_what_it_needs_in_any_of_four_places(network, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, audited.SIZE, audited.SIZE, 3), np.uint8)
    beside = audited.onnx(tmp_path / "a" / "net.onnx", network)
    wanted = onnx_file.load(str(beside), {}).probabilities(images)
    facts = json.loads(beside.with_suffix(".json").read_text())
    beside.with_suffix(".json").unlink()
    with pytest.raises(FieldmarkError, match=r"nothing says the classes of .*net\.onnx: .*--config"):
        onnx_file.load(str(beside), {})
    given = onnx_file.load(str(beside), facts)
    graph = onnx.load(beside)
    onnx.helper.set_model_props(graph, {key: json.dumps(value) for key, value in facts.items()})
    onnx.save(graph, tmp_path / "inside.onnx")
    inside = onnx_file.load(str(tmp_path / "inside.onnx"), {})
    audited.checkpoint(beside.parent, network)  # as optimum leaves them
    (beside.parent / "model.safetensors").unlink()
    around = onnx_file.load(str(beside), {})
    for found in (given, inside, around):
        np.testing.assert_allclose(found.probabilities(images), wanted, atol=1e-6)
        assert found.classes == tuple(audited.CLASSES) and found.size == audited.SIZE


def graph(path: Path, shape: list[object], softmax: bool) -> Path:
    """Write a network that answers with the mean of red and of blue, over pixels in [0, 1]."""
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["means"], keepdims=0),
        helper.make_node("Gather", ["means", "two"], ["pair"], axis=1),
        helper.make_node("Softmax" if softmax else "Identity", ["pair"], ["y"]),
    ]
    numbers = [
        onnx.numpy_helper.from_array(np.array(value), name) for name, value in {"axes": axes, "two": [0, 2]}.items()
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, size) for name, size in (("x", shape), ("y", None))
    ]
    made = helper.make_model(
        helper.make_graph(nodes, "g", ends[:1], ends[1:], numbers), opset_imports=[helper.make_opsetid("", 18)]
    )
    made.ir_version = 10
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("shape", [["n", 3, 8, 8], ["n", 8, 8, 3], [2, 3, 8, 8]], ids=["NCHW", "NHWC", "fixed batch"])
@pytest.mark.parametrize("softmax", [True, False])
def test_layout_batch_and_kind_of_answer_are_seen_in_the_graph(shape, softmax, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    box = onnx_file.load(str(graph(tmp_path / "g.onnx", shape, softmax)), {"classes": ["red", "blue"]})
    means = images.mean((1, 2))[:, [0, 2]] / 255
    wanted = np.exp(means) / np.exp(means).sum(1, keepdims=True)
    assert box.size == 8
    np.testing.assert_allclose(box.probabilities(images), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("ViTImageProcessorPil", {"size": {"height": 48, "width": 48}, "image_mean": [0.1, 0.2, 0.3]}, 48),
        ("BitImageProcessorPil", {"size": {"shortest_edge": 60}, "crop_size": {"height": 48, "width": 48}}, 48),
        ("EfficientNetImageProcessorPil", {"size": {"height": 48, "width": 48}, "rescale_offset": True}, 48),
        ("ConvNextImageProcessorPil", {"size": {"shortest_edge": 48}, "do_normalize": False}, 48),
    ],
)
def test_pixels_become_the_numbers_of_the_processor(name, options, side, network, tmp_path: Path) -> None:
    network.config.save_pretrained(tmp_path)
    processor = getattr(transformers, name)(**options)
    processor.save_pretrained(tmp_path)
    sees = _pixels.described(_pixels.processed(tmp_path), "it")
    assert sees.size == side
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    as_is = getattr(transformers, name)(**options, do_resize=False, do_center_crop=False)
    wanted = as_is(images=image, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(sees.numbers(image[None]), wanted, atol=2e-6)


@pytest.mark.parametrize("name", plugins.names("classifiers"))
def test_each_kind_of_classifier_knows_its_own(name, network, tmp_path: Path) -> None:
    kinds = {
        "onnx_file": str(graph(tmp_path / "g.onnx", ["n", 3, 8, 8], True)),
        "transformers_folder": str(audited.checkpoint(tmp_path / "t", network)),
        "python_object": "blackboxes:Constant",
    }
    facts = {"classes": ["red", "blue"]}
    plugin = plugins.find("classifiers", name)
    assert [kind for kind, what in kinds.items() if plugin.recognises(what)] == [name]
    box = plugin.load(kinds[name], facts)
    images = np.random.default_rng(0).integers(0, 256, (3, box.size, box.size, 3), np.uint8)
    answers = box.probabilities(images)
    assert box.classes == ("red", "blue") and answers.dtype == np.float32
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(box.probabilities(images[1:2]), answers[1:2], atol=1e-5)
    assert all(len(digest) == 64 for digest in box.files.values()) and box.files


@EXPORT
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_mlflow_models_are_opened_unless_that_would_unpickle(network, tmp_path: Path, here: Path) -> None:
    import mlflow.onnx
    import mlflow.pyfunc

    facts = {"classes": audited.CLASSES, "size": audited.SIZE, "mean": audited.MEAN, "std": audited.STD}
    images = np.random.default_rng(0).integers(0, 256, (3, audited.SIZE, audited.SIZE, 3), np.uint8)
    exported = audited.onnx(tmp_path / "net.onnx", network)
    wanted = onnx_file.load(str(exported), facts).probabilities(images)
    mlflow.onnx.save_model(onnx.load(exported), str(tmp_path / "as_onnx"))
    with opening.opened(str(tmp_path / "as_onnx"), here, facts) as (box, seed):
        np.testing.assert_allclose(box.probabilities(images), wanted, atol=1e-5)
        assert seed is None and box.files
    (tmp_path / "code.py").write_text(CODE)
    mlflow.pyfunc.save_model(str(tmp_path / "as_code"), python_model=str(tmp_path / "code.py"), pip_requirements=[])
    with opening.opened(str(tmp_path / "as_code"), here, facts) as (box, _):
        assert box.probabilities(images).tolist() == [[0.25, 0.75]] * 3
    refuse(tmp_path / "as_code", "does not say its classes and size")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "MLmodel").write_text("flavors:\n  pytorch: {model_data: data}\n  python_function: {}\n")
    refuse(tmp_path / "pickled", "is kept as a pickle .pytorch, python_function.*log it as ONNX")


def refuse(folder: Path, said: str) -> None:
    with ExitStack() as stack, pytest.raises(FieldmarkError, match=said):
        stack.enter_context(opening.opened(str(folder), folder, {}))


CODE = """
import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Constant(PythonModel):
    def predict(self, context, model_input, params=None):
        return np.tile([0.25, 0.75], (len(model_input), 1))


set_model(Constant())
"""
