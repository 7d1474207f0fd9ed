"""Maps by captum and answers to changed inputs: on a linear model each has a value one can write down."""

from pathlib import Path

import numpy as np
import pytest
import torch
import world as worlds
import yaml
from torch import Tensor, nn

from fieldmark.core import layout, store
from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.explain import deletion, energy_pointing, forced_mask, leak, mask_stability
from fieldmark.layers.evidence import class_evidence
from fieldmark.layers.pooling import TokenClassifier
from fieldmark.models import ersm, finetune, ifam
from fieldmark.training import attribution as maps
from fieldmark.training.fit import initialised
from fieldmark.training.predict import kept_probability, predict
from fieldmark.training.probing import forced_answers, kept_logit, noisy, replaced, shuffled
from stages import explain
from stages._maps import Known, relative
from stages._shown import asked_about, parts

N, C, K, h, w = 5, 3, 2, 4, 4
BACKBONE = Backbone(nn.Identity(), C, 1, (0.5,) * 3, (0.5,) * 3, "")
NAMED = np.array([0, 1, 1, 0, 1])
Triples = list[tuple[Batch, Tensor, Tensor]]


def examples(*sizes: int, side: int = h) -> Triples:
    """The same N examples in batches of these sizes."""
    generator = torch.Generator().manual_seed(0)
    x_NCHW = torch.randn(N, C, side, side, generator=generator)
    object_Nhw = torch.rand(N, h, w, generator=generator)
    whole = (x_NCHW, object_Nhw, torch.arange(N) - 2, torch.arange(N) % K)
    columns = [column.split(list(sizes or (N,))) for column in whole]
    return [
        (Batch(x, objects, keys), labels, torch.zeros_like(labels))
        for x, objects, keys, labels in zip(*columns, strict=True)
    ]


def plain() -> TokenClassifier:
    return initialised(lambda: TokenClassifier(C, K), 1).eval()  # type: ignore[return-value]


def contributions(module: TokenClassifier, x_NCHW: Tensor) -> np.ndarray:
    """What each token adds to the logit that is named: evidence, divided by the number of tokens."""
    evidence_Nhw = class_evidence(x_NCHW, module.linear.weight.detach(), torch.from_numpy(NAMED))
    return (evidence_Nhw / (h * w)).double().numpy()


def made(kind: str, module: nn.Module, batches: Triples) -> np.ndarray:
    return maps.attribution(kind, module, batches, NAMED, (h, w))


# Maps


@pytest.mark.parametrize("sizes", [(N,), (2, 3)])
def test_maps_of_a_linear_model_are_its_contributions(sizes: tuple[int, ...]) -> None:
    module, batches = plain(), examples(*sizes)
    exact_Nhw = contributions(module, examples()[0][0].x_BCHW)
    np.testing.assert_allclose(made("integrated_gradients", module, batches), exact_Nhw, atol=1e-6)
    np.testing.assert_allclose(made("occlusion", module, batches), exact_Nhw, atol=1e-6)
    np.testing.assert_allclose(made("gradcam", module, batches), exact_Nhw.clip(0), atol=1e-6)


def test_on_pixels_a_token_is_a_square_of_pixels_and_grad_cam_looks_at_the_backbone() -> None:
    """Mean pooling is linear too: tokens are the means of 2 x 2 pixels."""
    backbone = BACKBONE._replace(module=nn.AvgPool2d(2), stride=2)
    module = initialised(lambda: finetune.build(backbone, K), 2).eval()
    batches = examples(side=2 * h)
    exact_Nhw = contributions(module.head, nn.functional.avg_pool2d(batches[0][0].x_BCHW, 2))  # type: ignore[arg-type]
    np.testing.assert_allclose(made("integrated_gradients", module, batches), exact_Nhw, atol=1e-6)
    np.testing.assert_allclose(made("occlusion", module, batches), exact_Nhw, atol=1e-6)
    np.testing.assert_allclose(made("gradcam", module, batches), exact_Nhw.clip(0), atol=1e-6)


def test_integrated_gradients_are_complete_where_the_gate_is_not_linear() -> None:
    module = initialised(lambda: ersm.build(BACKBONE, K, bias_init=0.0), 3).eval()
    batches = examples()
    x_NCHW, named = batches[0][0].x_BCHW, torch.from_numpy(NAMED)[:, None]
    with torch.no_grad():
        whole, nothing = (module(Batch(x)).logits_BK.gather(1, named)[:, 0] for x in (x_NCHW, 0 * x_NCHW))
    found = made("integrated_gradients", module, batches).sum((1, 2))
    np.testing.assert_allclose(found, (whole - nothing).numpy(), atol=1e-3)


def test_a_map_leaves_the_model_as_it_was() -> None:
    module = plain()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for kind in maps.MAKERS:
        first, again = made(kind, module, examples()), made(kind, module, examples())
        np.testing.assert_array_equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


class Rooted(nn.Module):
    """Has no gradient where its input is zero."""

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Take the root of what is not negative."""
        root_B = (batch.x_BCHW.clamp_min(0) * 0).sqrt().sum((1, 2, 3))
        return Output(torch.stack([root_B, -root_B], 1), batch.x_BCHW[:, 0], {})


def test_a_map_that_is_not_finite_is_refused_and_another_one_named() -> None:
    with pytest.raises(FieldmarkError, match=rf"gradcam gave {N} of {N} maps that are not finite.*use occlusion"):
        made("gradcam", Rooted(), examples())
    assert not made("occlusion", Rooted(), examples()).any()


def test_measures_get_the_positive_part_of_a_map() -> None:
    np.testing.assert_array_equal(relative(np.array([[[-1.0, 2.0], [4.0, 0.0]]])), [[[0, 0.5], [1, 0]]])


# Answers to what is changed


def test_the_logit_of_weighed_tokens_is_the_sum_of_what_is_left() -> None:
    module, batches = plain(), examples(2, 3)
    keep_Nhw = np.random.default_rng(0).random((N, h, w))
    exact_N = (contributions(module, examples()[0][0].x_BCHW) * keep_Nhw).sum((1, 2))
    bias_N = module.linear.bias.detach().numpy()[NAMED]
    found_N = kept_logit(module, lambda: batches, NAMED)(keep_Nhw)
    np.testing.assert_allclose(found_N, exact_N + bias_N, atol=1e-6)


def test_noise_is_bounded_and_the_keys_own() -> None:
    whole, cut = list(noisy(examples(), 0.1, draw=3)), list(noisy(examples(2, 3), 0.1, draw=3))
    x_NCHW, noisy_NCHW = examples()[0][0].x_BCHW, whole[0][0].x_BCHW
    assert torch.equal(noisy_NCHW, torch.cat([batch.x_BCHW for batch, _, _ in cut]))
    relative_N = (noisy_NCHW - x_NCHW).abs().amax((1, 2, 3)) / x_NCHW.square().mean((1, 2, 3)).sqrt()
    assert bool(((relative_N > 0.08) & (relative_N <= 0.1 + 1e-6)).all())
    assert not torch.equal(noisy_NCHW, next(noisy(examples(), 0.1, draw=4))[0].x_BCHW)


def test_shuffled_weights_are_the_same_numbers_elsewhere() -> None:
    module = initialised(lambda: ersm.build(BACKBONE, K), 4)
    other = shuffled(module, 0)
    assert torch.equal(other.gate.bias_N, module.gate.bias_N)  # a buffer
    for name, parameter in module.named_parameters():
        changed = dict(other.named_parameters())[name]
        assert torch.equal(changed.flatten().sort().values, parameter.flatten().sort().values)
    assert not torch.equal(other.linear.weight, module.linear.weight)
    assert torch.equal(other.linear.weight, shuffled(module, 0).linear.weight)


def test_only_what_is_outside_is_replaced() -> None:
    outside_Nhw = np.zeros((N, h, w), bool)
    outside_Nhw[:, 0, 1] = True
    x_NCHW = examples()[0][0].x_BCHW
    for content, expected_NC in {"nothing": torch.zeros(N, C), "turned": x_NCHW[:, :, -1, -2]}.items():
        found_NCHW = torch.cat([batch.x_BCHW for batch, _, _ in replaced(examples(2, 3), outside_Nhw, content)])  # type: ignore[arg-type]
        assert torch.equal(found_NCHW[:, :, 0, 1], expected_NC)
        found_NCHW[:, :, 0, 1] = x_NCHW[:, :, 0, 1]
        assert torch.equal(found_NCHW, x_NCHW)


class Peeping(nn.Module):
    """Says it looks through a mask, and looks at everything."""

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Add all up."""
        sum_B = batch.x_BCHW.sum((1, 2, 3))
        return Output(torch.stack([sum_B, torch.zeros_like(sum_B)], 1), batch.x_BCHW[:, 0] > 0, {})


def leaked(module: nn.Module) -> np.ndarray:
    batches = examples(2, 3)
    mask_Nhw = predict(module, batches).masks_Nhw.astype(np.float64)
    assert 0 < mask_Nhw.mean() < 1
    forced = forced_answers(module, lambda: batches)
    return leak.score(mask_Nhw, answers=forced, answers_replaced=forced)["leak"].values


def test_a_hard_mask_leaks_exactly_nothing() -> None:
    hard = initialised(lambda: ersm.build(BACKBONE, K, gate="ste", bias_init=0.0), 5).eval()
    assert leaked(hard).tolist() == [0.0] * N


def test_a_mask_that_is_not_used_leaks_what_it_hides() -> None:
    x_NCHW = examples()[0][0].x_BCHW
    outside_NChw = (x_NCHW[:, :1] <= 0).expand_as(x_NCHW)
    sums = [
        torch.where(outside_NChw, other, x_NCHW).sum((1, 2, 3)).sigmoid()
        for other in (x_NCHW, torch.zeros_like(x_NCHW), x_NCHW.flip(2, 3))
    ]
    expected_N = torch.stack([(one - sums[0]).abs() for one in sums[1:]]).amax(0)
    np.testing.assert_allclose(leaked(Peeping()), expected_N.numpy(), atol=1e-6)


def test_insertion_of_the_own_mask_is_its_deletion_read_backwards_on_a_model_too() -> None:
    module, batches = plain(), examples()
    random = np.random.default_rng(0)
    known = {"key_B": np.arange(N), "probability": kept_probability(module, lambda: batches)}
    mask_Nhw = random.random((N, h, w))
    from fieldmark.explain import insertion

    one = insertion.score(mask_Nhw, **known)["insertion"]
    other = deletion.score(mask_Nhw, magnitude_Bhw=mask_Nhw, **known)["deletion_own"]
    assert one.value == pytest.approx(other.value, abs=1e-12)
    assert [*one.means().values()] == pytest.approx([*other.means().values()][::-1])


def test_ifams_parts_are_those_it_can_do_without() -> None:
    vit = Backbone(nn.Identity(), 8, 8, (0.5,) * 3, (0.5,) * 3, "")
    module = initialised(lambda: ifam.build(vit, K, parts=3, dim=12, depth=1, heads=3, grid=(4, 4)), 6).eval()
    batches = [(Batch(torch.randn(4, 3, 32, 32)), torch.zeros(4, dtype=torch.int64), torch.zeros(4))]

    class Cpu:
        device = "cpu"

    parts_NPhw = parts(Cpu(), module, batches)  # type: ignore[arg-type]
    mask_Nhw = predict(module, batches).masks_Nhw.astype(np.float64)
    assert parts_NPhw.shape == (4, 3, 4, 4)
    np.testing.assert_array_equal(parts_NPhw.any(1), mask_Nhw > 0)  # the rest is background
    known = {"label_B": np.zeros(4, int), "answers": forced_answers(module, lambda: batches)}
    found = forced_mask.score(mask_Nhw, **known, parts_BPhw=parts_NPhw)
    for part in range(3):
        right_N = predict(module.without(part), batches).probabilities_NK.argmax(1) == 0
        assert found[f"forced_part_{part}"].values.tolist() == right_N.astype(float).tolist()


# What measures can ask for


def test_what_nobody_asks_for_is_never_made_and_the_rest_once() -> None:
    made: list[str] = []
    known = Known({"a": lambda: made.append("a") or 1, "b": lambda: made.append("b") or 2}, Known({"c": lambda: 3}))  # type: ignore[func-returns-value]
    assert ("a" in known, "c" in known, "d" in known, len(known), sorted(known)) == (True, True, False, 3, [*"abc"])
    assert made == []
    assert (known["a"], known["a"], known["c"]) == (1, 1, 3)
    assert made == ["a"]


def test_a_measure_of_any_map_is_asked_about_each_and_one_of_the_mask_once() -> None:
    kinds = ["mask", "gradcam"]
    assert asked_about(energy_pointing.score, kinds) == kinds
    assert asked_about(mask_stability.score, kinds) == kinds
    assert asked_about(forced_mask.score, kinds) == ["mask"]
    assert asked_about(deletion.score, kinds) == ["mask"]


# The stage


def test_the_stage_names_the_map_where_it_is_not_the_models_own(world: Path, tmp_path: Path) -> None:
    root = worlds.copy(world, tmp_path / "copy")
    small = yaml.safe_load(worlds.SMOKE.read_text())["explain"]["measures"]
    more = dict.fromkeys(
        ("rank_accuracy", "pointing_game", "mask_otsu", "gini", "insertion", "morf_lerf", "infidelity", "leak",
         "max_sensitivity", "randomisation", "mask_stability", "forced_mask"), {}
    )  # fmt: skip
    kinds = ["mask", "gradcam", "integrated_gradients", "occlusion"]
    worlds.write_params(root, explain={"maps": kinds, "measures": small | more | {"max_sensitivity": {"draws": 2}}})
    params, told = worlds.load(root), {}
    for model in ("erm", "ersm", "zoom_norm", "oracle_mask"):
        explain.main(params, root, model, 0)
        told[model] = store.read_json(layout.explained(root, model, 0))["test"]
    before = store.read_json(layout.explained(world, "erm", 0))["test"]
    assert {metric: told["erm"][metric] for metric in before} == before  # other maps change nothing of what was
    for metric in ("token_auc", "infidelity", "morf_lerf", "randomisation", "mask_stability_iou", "max_sensitivity"):
        assert {f"{metric}@{kind}" for kind in kinds[1:]} < set(told["erm"])
    assert not any("@" in metric for metric in told["zoom_norm"])  # it looks twice: no gradient, and dear answers
    assert {"mask_stability_iou", "forced_own"} < set(told["zoom_norm"])
    assert not {"leak", "randomisation", "insertion", "infidelity"} & set(told["zoom_norm"])
    assert told["erm"]["infidelity_relative@occlusion"]["value"] == pytest.approx(0, abs=1e-6)  # it is linear
    assert told["erm"]["insertion@occlusion"]["value"] == pytest.approx(told["erm"]["deletion_cam"]["value"], abs=1e-3)
    assert told["oracle_mask"]["mask_stability_iou"]["value"] == 1  # the object has not moved
    assert told["erm"]["leak"]["value"] == 0  # it hides nothing
    assert told["ersm"]["insertion"]["value"] == pytest.approx(told["ersm"]["deletion_own"]["value"], abs=1e-12)
