"""What every model must hold, shown on every file of the room unasked."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Look, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.boxes import from_frame
from fieldmark.layers.saliency_head import SaliencyHead
from fieldmark.layers.vit_classifier import VitClassifier
from fieldmark.models import two_stage
from fieldmark.training.fit import initialised
from fieldmark.training.phases import phases

CHANNELS, CLASSES, PATCH = 6, 3, 16  # two tokens hold a patch of AnchorNet's small layers
MODELS = plugins.names("models")
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in MODELS] + [
    ("ersm", {"gate": "ste", "bias_init": 0.0}),
    ("ersm", {"pair": "feature8_norm", "bias_mode": "scalar"}),
    ("ersm", {"pair": "mask_tv", "bias_init": 0.0}),
    ("ersm", {"pair": "off", "renormalise": True}),
    ("ersm", {"token_size": 2}),
    ("amt", {"mask": "shared", "beta": 0.1}),
    ("amt", {"mask": "channel", "groups": 2, "transform": "top:0.5", "rescale": True}),
    ("amt", {"mask": "lowrank", "residual": True, "transform": "pow:2", "transform_when": "always"}),
    ("amt", {"transform": "imp:1", "importance_shuffled": True}),
    ("abn", {"residual": False}),
    ("abn", {"masks": "class"}),
    ("attentive_probe", {"heads": 3}),
    ("finetune", {"freeze_bn": False}),
    ("finetune", {"freeze_bn": False, "lr_factor": 0.0}),
    ("finetune", {"head": "ersm", "head_options": {"gate": "ste", "bias_init": 0.0}}),
    ("token_norm", {"renormalise": True}),
    ("cam", {"centred": True}),
    ("saliency", {"renormalise": True}),
    ("two_stage", {"first": "saliency"}),
    ("two_stage", {"first": "ersm", "sides": (0.5, 1.0)}),
    ("two_stage", {"second": "ersm", "sharpness": 2.0}),
    ("two_stage", {"first": "cam"}),
    ("two_stage", {"second": "abn"}),
    ("two_stage", {"second": "amt", "second_options": {"auxiliary": True}}),
    ("two_stage", {"first": "anchornet"}),
    ("two_stage", {"first": "ifam", "first_options": {"dim": 12, "depth": 1, "grid": (4, 6)}}),
    ("ifam", {"soft": True}),
    ("ifam", {"coupling": "detached"}),
    ("ifam", {"coupling": "sequential"}),
    ("ifam", {"prune": True}),
    ("anchornet", {"layers": "tiny", "se": False, "skip_crop": "center", "k": 2}),
    ("anchornet", {"multi_scale": True}),
    ("anchor_exit", {"layers": "tiny", "multi_scale": True, "thresholds": [0.5, 0.5]}),
    ("anchor_exit", {"downstream": "finetune", "side": 32, "thresholds": [0.9]}),
]
every_model = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda value: str(value))


def backbone() -> Backbone:
    """Cut the image into patches: no token sees its neighbours, so a token's mask is exactly a mask of pixels."""
    module = initialised(lambda: nn.Conv2d(3, CHANNELS, PATCH, PATCH), 0)
    facts = CHANNELS, PATCH, (0.5,) * 3, (0.5,) * 3, ""
    return Backbone(module.eval().requires_grad_(False), *facts, saliency=finder)


def finder() -> nn.Module:
    """Find objects as a head that came with the backbone would."""
    return initialised(lambda: SaliencyHead(CHANNELS), 0).eval().requires_grad_(False)


def model(name: str, options: dict[str, Any], seed: int = 0) -> nn.Module:
    return initialised(lambda: plugins.find("models", name).build(backbone(), CLASSES, **options), seed)


def batch(name: str, height: int = 4, width: int = 6, examples: int = 5) -> Batch:
    draw = torch.Generator().manual_seed(0)
    pixels = plugins.find("models", name).TRAINS_ON == "pixels"
    shape = (3, height * PATCH, width * PATCH) if pixels else (CHANNELS, height, width)
    object_Bhw = torch.rand(examples, height, width, generator=draw)
    x_BCHW = torch.randn(examples, *shape, generator=draw)
    picture_B3HW = torch.randn(examples, 3, height * PATCH, width * PATCH, generator=draw)
    return Batch(x_BCHW, object_Bhw, torch.arange(examples), nearer(x_BCHW), pixels=lambda: picture_B3HW)


def nearer(x_BCHW: Tensor) -> Look:
    """Look again at tokens that stand for their pixels: a crop's token is the one that lies at its middle."""

    def look(boxes_Bn3: Tensor, keep_Bhw: Tensor | None = None, fill: str = "grey") -> Tensor:
        shown = x_BCHW if keep_Bhw is None else x_BCHW * keep_Bhw[:, None]
        size = (x_BCHW.shape[2], x_BCHW.shape[3])
        crops = [from_frame(boxes_Bn3, channel_BHW, size) for channel_BHW in shown.unbind(1)]
        return torch.stack(crops, 1).transpose(2, 3).flatten(3)

    return look


def plain(name: str, module: nn.Module, inputs: Batch) -> Tensor:
    """Global average pooling and the model's own linear classifier, written out."""
    if name in ("ifam", "vit"):  # these read a class token, not a mean of tokens: theirs is the ViT that knows no mask
        classifier = next(part for part in module.modules() if isinstance(part, VitClassifier))
        unmasked_BK: Tensor = classifier(inputs.x_BCHW).logits_BK
        return unmasked_BK
    if name in ("anchornet", "anchor_exit"):  # they have no mask inside: a forced one dims the pixels
        undimmed_BK: Tensor = module(inputs).logits_BK
        return undimmed_BK
    if isinstance(module, two_stage.TwoStage):  # all ones look at the middle
        assert inputs.look is not None
        middle_Bn3 = module.boxes(torch.ones(len(inputs.x_BCHW), 1, 1))
        return plain("erm", module.second, Batch(inputs.look(middle_Bn3)))
    linear = next(part for part in module.modules() if isinstance(part, nn.Linear) and part.out_features == CLASSES)
    features = backbone().module(inputs.x_BCHW) if plugins.find("models", name).TRAINS_ON == "pixels" else inputs.x_BCHW
    logits_BK: Tensor = linear(features.mean((2, 3)))
    return logits_BK


@pytest.mark.parametrize("name", MODELS)
def test_declares_what_it_needs(name: str) -> None:
    plugin = plugins.find("models", name)
    assert plugin.TRAINS_ON in ("features", "pixels") and plugin.VIEW in ("plain", "masked")
    assert plugin.TRAIN_PART in ("train", "train_unbiased") and isinstance(plugin.DEPLOYABLE, bool)


@every_model
@pytest.mark.parametrize("size", [(4, 6), (2, 2)])
def test_answers_in_shape_and_range(name: str, options: dict[str, Any], size: tuple[int, int]) -> None:
    output = model(name, options)(batch(name, *size))
    assert isinstance(output, Output)
    assert output.logits_BK.shape == (5, CLASSES) and output.mask_Bhw.shape == (5, *size)
    assert all(value.isfinite().all() for value in (output.logits_BK, output.mask_Bhw, *output.extras.values()))
    assert output.mask_Bhw.min() >= 0 and output.mask_Bhw.max() <= 1
    assert "energy" not in output.extras or output.extras["energy"].shape == (5,)


@every_model
def test_every_parameter_learns(name: str, options: dict[str, Any]) -> None:
    labels_B, module = torch.tensor([0, 1, 2, 0, 1]), model(name, options)
    born = {which for which, p in module.named_parameters() if p.requires_grad}
    if getattr(getattr(module, "first", None), "mask_is_rule", False):
        born = {which for which in born if not which.startswith("first.")}  # its answer is never asked
    taught = set()
    for _, part in phases(module):
        output = part.train()(batch(name))
        answers = [output.logits_BK, *(output.extras[key] for key in ("auxiliary_logits",) if key in output.extras)]
        loss = sum(nn.functional.cross_entropy(logits_BK, labels_B) for logits_BK in answers)
        (loss + output.extras.get("energy", torch.zeros(1)).mean()).backward()
        learning = {which: p.grad for which, p in part.named_parameters() if p.requires_grad}
        still = [which for which, grad in learning.items() if grad is None or not grad.abs().sum() > 0]
        assert learning and not still
        taught |= {which for which, p in module.named_parameters() if p.requires_grad and p.grad is not None}
    assert taught == born, "what is fixed before it has learnt stays as it was drawn"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("two_stage", {"first": "ifam", "first_options": {"coupling": "sequential"}}),
        ("two_stage", {"first": "anchor_exit"}),
        ("anchor_exit", {"downstream": "ifam", "downstream_options": {"coupling": "sequential"}}),
        ("finetune", {"head": "two_stage", "head_options": {"first": "ersm"}}),
    ],
)
def test_a_model_of_several_phases_is_no_part_of_another(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(FieldmarkError, match="trained in several phases .* name one that is trained in one go"):
        model(name, options)


@every_model
def test_options_of_every_model_are_of_the_types_it_names(name: str, options: dict[str, Any]) -> None:
    said = yaml.safe_load(yaml.safe_dump(json.loads(json.dumps(options))))  # as params.yaml would say it
    taken = plugins.accepted(plugins.find("models", name).build, said)
    assert json.loads(json.dumps(taken)) == said


@every_model
def test_only_a_mask_that_hangs_on_no_weight_is_called_a_rule(name: str, options: dict[str, Any]) -> None:
    one, other = (model(name, options, seed).eval() for seed in (0, 1))
    if getattr(one, "mask_is_rule", False):
        assert torch.equal(one(batch(name)).mask_Bhw, other(batch(name)).mask_Bhw)


@every_model
def test_every_phase_can_be_measured_while_it_trains(name: str, options: dict[str, Any]) -> None:
    inputs = batch(name)
    for _, part in phases(model(name, options)):
        for forced_Bhw in (None, torch.ones(5, 4, 6)):
            output = part.eval()(inputs, forced_Bhw)
            assert output.logits_BK.shape == (5, CLASSES) and output.logits_BK.isfinite().all()


@every_model
def test_evaluation_is_bit_deterministic_and_independent_of_the_generator(name: str, options: dict[str, Any]) -> None:
    module, inputs = model(name, options).eval(), batch(name)
    first = module(inputs)
    torch.rand(3)
    second = module(inputs)
    assert torch.equal(first.logits_BK, second.logits_BK) and torch.equal(first.mask_Bhw, second.mask_Bhw)


@every_model
def test_state_survives_safetensors(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    module, other = model(name, options).eval(), model(name, options, seed=1).eval()
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    assert not torch.equal(module(batch(name)).logits_BK, other(batch(name)).logits_BK)
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(module(batch(name)).logits_BK, other(batch(name)).logits_BK)


@every_model
def test_forced_ones_are_the_plain_network(name: str, options: dict[str, Any]) -> None:
    module, inputs = model(name, options).eval(), batch(name)
    output = module(inputs, torch.ones(5, 4, 6))
    assert output.mask_Bhw.eq(1).any() if name == "two_stage" else output.mask_Bhw.eq(1).all()  # or all that is seen
    torch.testing.assert_close(output.logits_BK, plain(name, module, inputs), rtol=1e-5, atol=1e-6)


@every_model
def test_what_a_hard_mask_hides_changes_no_bit(name: str, options: dict[str, Any]) -> None:
    module, inputs = model(name, options).eval(), batch(name)
    keep_Bhw = (torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(1)) > 0.5).float()
    scale = inputs.x_BCHW.shape[2] // 4
    hidden_BHW = keep_Bhw.repeat_interleave(scale, 1).repeat_interleave(scale, 2).unsqueeze(1) == 0
    changed = inputs._replace(x_BCHW=torch.where(hidden_BHW, 9.0, inputs.x_BCHW))
    changed = changed._replace(look=nearer(changed.x_BCHW))
    before, after = module(inputs, keep_Bhw).logits_BK, module(changed, keep_Bhw).logits_BK
    assert torch.equal(before, after)
    assert not torch.equal(before, module(changed, torch.ones(5, 4, 6)).logits_BK), "what was hidden must matter"


@pytest.mark.parametrize("name", [name for name in MODELS if plugins.find("models", name).DEPLOYABLE])
def test_a_deployable_model_never_reads_the_true_mask(name: str) -> None:
    inputs = batch(name)
    module = model(name, {}).eval()
    assert torch.equal(
        module(inputs).logits_BK, module(Batch(inputs.x_BCHW, look=inputs.look, pixels=inputs.pixels)).logits_BK
    )


@pytest.mark.parametrize("name", [name for name in MODELS if not plugins.find("models", name).DEPLOYABLE])
def test_a_control_without_the_true_mask_says_so(name: str) -> None:
    with pytest.raises(FieldmarkError, match="without a true mask|without keys"):
        model(name, {})(batch(name)._replace(object_Bhw=None, key_B=None))


def test_only_the_mask_controls_are_not_deployable() -> None:
    controls = {name for name in MODELS if not plugins.find("models", name).DEPLOYABLE}
    assert controls >= {"oracle_mask", "random_mask", "inverted_mask"}
    assert controls.isdisjoint({"erm", "erm_unbiased", "ersm", "finetune"})
