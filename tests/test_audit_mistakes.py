"""Whatever is wrong with a model, its data or what was asked of them: `fieldmark audit` says it in one sentence."""

from pathlib import Path

import audited
import pytest
import torch
from PIL import Image

from fieldmark import cli
from fieldmark.audit.audit import audit
from fieldmark.core.errors import FieldmarkError


def mistakes(folder: Path, network) -> dict[str, tuple[list[str], str]]:
    """Return arguments and what is said of them."""
    pickled, bare, headless = folder / "pickled", folder / "bare", folder / "headless"
    network.config.save_pretrained(pickled)
    torch.save({}, pickled / "pytorch_model.bin")
    bare.mkdir()
    audited.checkpoint(headless, network)
    network.resnet.save_pretrained(headless)
    sizeless = audited.checkpoint(folder / "sizeless", network)
    (sizeless / "preprocessor_config.json").unlink()
    (folder / "broken.onnx").write_bytes(b"no graph")
    (folder / "list.json").write_text("[1]")
    (folder / "word.json").write_text('{"size": "abc"}')
    (folder / "typo.json").write_text('{"meann": [0, 0, 0]}')
    pointer, cut = audited.checkpoint(folder / "pointer", network), audited.checkpoint(folder / "cut", network)
    (pointer / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1")
    (cut / "config.json").write_text('{"model_type": "res')
    odd = folder / "odd"
    odd.mkdir()
    (odd / "MLmodel").write_text("flavors: 3")
    empty = folder / "empty"
    (empty / "objects").mkdir(parents=True)
    alone = folder / "alone"
    for place, ground in (("objects/bird", 0), ("scenes/water", 255)):
        (alone / place).mkdir(parents=True)
        picture = Image.new("RGBA", (64, 64), (30, 60, 90, ground))
        picture.paste((200, 30, 30, 255), (16, 16, 48, 48))
        picture.save(alone / place / "a.png")
    (folder / "scale.json").write_text('{"classes": ["a", "b"], "size": 8, "scale": "1/255"}')
    (folder / "text.json").write_text('{"classes": "bird", "size": 8}')
    fine = "blackboxes:Constant"
    return {
        "pickle": ([str(pickled)], "only safetensors weights .* as a pickle .pytorch_model.bin.*to ONNX"),
        "pickle file": (["net.pth"], "net.pth is a pickle, .* torch.onnx.export"),
        "wrong folder": ([str(bare)], "holds no config.json and no single ONNX file .but nothing.: give models:/"),
        "no model": (["nothing/here"], "there is no model 'nothing/here': give models:/"),
        "headless": ([str(headless)], "lacks weights .classifier.1.bias, classifier.1.weight.: .* partly random"),
        "sizeless": ([str(sizeless)], "nothing says the size of .*--config"),
        "broken file": ([str(folder / "broken.onnx")], "can't be opened by onnxruntime"),
        "no file": (["none.onnx"], "there is no file none.onnx"),
        "no module": (["no_such_module:box"], "can't be imported"),
        "no version": (["models:/nobody/1"], "nothing is on record in .*run make repro"),
        "unknown data": ([fine, "--data", "cifar"], "no data 'cifar': use shapes, wildstamps, or a folder"),
        "no data": ([fine, "--data", ""], "no data ''"),
        "empty data": ([fine, "--data", str(empty), "--pairs", "a=b"], "holds no objects: put there objects/<class>"),
        "odd pairs": ([fine, "--data", "shapes", "--pairs", "disc"], "--pairs 'disc' can't be read"),
        "wrong pairs": ([fine, "--data", "shapes", "--pairs", "disc=sand"], "no background for the labels .'square'."),
        "wrong config": ([fine, "--config", str(folder / "list.json")], "is no JSON object"),
        "useless config": ([fine, "--config", str(folder / "word.json")], "description of .* can't be followed"),
        "misspelt config": ([fine, "--config", str(folder / "typo.json")], "has unknown keys .meann."),
        "scale in words": ([fine, "--config", str(folder / "scale.json")], "description of .* can't be followed"),
        "classes in one text": ([fine, "--config", str(folder / "text.json")], "description of .* can't be followed"),
        "one class": ([fine, "--data", str(alone), "--pairs", "bird=water"], "labels .'bird'.: give objects of two"),
        "odd seed": ([fine, "--data", "shapes", "--seed", "-1"], "--seed is -1: give a number from 0 on"),
        "no weights yet": ([str(pointer)], "no image classifier that transformers can open .*header"),
        "half a config": ([str(cut)], "config.json can't be read as JSON .*fetch it again"),
        "no flavours": ([str(odd)], "no MLflow model: it holds no MLmodel that can be read"),
        "out on a file": ([fine, "--out", str(folder / "list.json")], "list.json can't be made .*may write to"),
        "no config": ([fine, "--config", "none.json"], "--config none.json can't be read"),
        "nothing asked": ([fine, "--examples", "0"], "--examples is 0 .*numbers above 0"),
        "broken weights": (["blackboxes:Broken", "--data", "shapes"], "are no numbers: check its weights"),
        "narrow": (["blackboxes:Narrow", "--data", "shapes"], "a row a picture and a column for each of its 2"),
        "unmapped": (["blackboxes:Elsewhere", "--data", "shapes"], "stands for disc: the model says red .*--classes"),
    }  # fmt: skip


def test_a_mistake_is_one_sentence_that_says_what_to_do(network, here, tmp_path, capsys) -> None:
    for name, (asked, wanted) in mistakes(tmp_path, network).items():
        with pytest.raises(SystemExit) as end:
            cli.main(["--root", str(here), "audit", "--examples", "8", *asked])
        said = capsys.readouterr().err.splitlines()[-1]
        assert end.value.code == 1, name
        assert said.startswith("fieldmark: "), (name, said)
        pytest.raises(FieldmarkError, _raise, said).match(wanted)
    assert not [*(here / "audit").glob("*")], "nothing is left of an audit that was refused"
    with pytest.raises(FieldmarkError, match="name what to show the model: --data shapes, --data wildstamps, or"):
        audit("blackboxes:Constant", here)


def _raise(said: str) -> None:
    raise FieldmarkError(said)
