"""What an answer costs, counted; and how seconds are taken."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from fieldmark.backbones import efficientnet_lite0
from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.layers.saliency_head import SaliencyHead
from fieldmark.models import erm, finetune, oracle_mask, two_stage
from fieldmark.training import cost as costs
from fieldmark.training.cost import Way, cost, side_by_side

CHANNELS, PATCH, CLASSES = 6, 4, 3
IMAGE = torch.zeros(1, 3, 16, 24)  # 4 x 6 tokens
PATCHES = 24 * CHANNELS * 3 * PATCH**2  # multiply-adds of the backbone
POOLED = 24 * CHANNELS + CHANNELS * CLASSES  # of the masked mean and the linear classifier
BACKBONE = CHANNELS * (3 * PATCH**2 + 1)  # parameters
HEAD = (CHANNELS + 1) * CLASSES


def backbone() -> Backbone:
    module = nn.Conv2d(3, CHANNELS, PATCH, PATCH).eval().requires_grad_(False)
    facts = CHANNELS, PATCH, (0.5,) * 3, (0.5,) * 3, ""
    return Backbone(module, *facts, saliency=lambda: SaliencyHead(CHANNELS).requires_grad_(False))


def way(network: nn.Module, *, on_pixels: bool = False) -> Way:
    return Way(network, backbone(), on_pixels=on_pixels)


def test_a_model_on_features_pays_for_the_frozen_backbone_too() -> None:
    found = cost(way(erm.build(backbone(), CLASSES)), IMAGE)
    assert found == {"parameters": BACKBONE + HEAD, "learned": HEAD, "macs": PATCHES + POOLED}


def test_a_model_on_pixels_holds_its_own_backbone_and_trains_it() -> None:
    found = cost(way(finetune.build(backbone(), CLASSES), on_pixels=True), IMAGE)
    assert found == {"parameters": BACKBONE + HEAD, "learned": BACKBONE + HEAD, "macs": PATCHES + POOLED}


@pytest.mark.parametrize("name", plugins.names("models"))
def test_every_model_can_be_counted(name: str) -> None:
    plugin = plugins.find("models", name)
    on_pixels = plugin.TRAINS_ON == "pixels"
    image = torch.zeros(1, 3, 64, 96)  # some models have no use for a smaller one
    found = cost(way(plugin.build(backbone(), CLASSES), on_pixels=on_pixels), image)
    assert 0 < found["learned"] <= found["parameters"]
    assert found["macs"] > (0 if on_pixels else 16 * PATCHES)


def test_a_control_gets_the_mask_it_reads() -> None:
    assert cost(way(oracle_mask.build(backbone(), CLASSES)), IMAGE)["macs"] == PATCHES + POOLED


@pytest.mark.parametrize("crops", [1, 2])
def test_who_looks_again_pays_again_for_every_crop(crops: int) -> None:
    square = torch.zeros(1, 3, 16, 16)
    once = cost(way(erm.build(backbone(), CLASSES)), square)
    module = two_stage.build(backbone(), CLASSES, first="erm", sides=[0.5] * crops)
    twice = cost(way(module), square)
    seen = PATCHES * 16 // 24
    on_frame = crops * 2 * 4**3  # (4, 4) masks of crops, laid onto the frame by two products
    second = crops * 16 * CHANNELS + CHANNELS * CLASSES
    assert twice["macs"] - once["macs"] == crops * seen + second + on_frame
    assert (twice["parameters"], twice["learned"]) == (BACKBONE + 2 * HEAD, HEAD), "the first one's mask is a rule"


def test_the_cost_is_that_of_one_image_whatever_the_batch() -> None:
    one = way(erm.build(backbone(), CLASSES))
    assert cost(one, IMAGE.repeat(5, 1, 1, 1)) == cost(one, IMAGE)


def test_what_images_cost_differently_is_a_mean() -> None:
    class Early(nn.Module):
        """Works on images that are not black."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(10, 10, bias=False)

        def forward(self, batch: Batch) -> Output:
            bright_BX = batch.x_BCHW.flatten(1)[batch.x_BCHW.amax((1, 2, 3)) > 0, :10]
            return Output(self.linear(bright_BX), torch.ones(1, 1, 1), {})

    images_B3HW = torch.zeros(4, 3, 16, 16)
    images_B3HW[0] = 1
    assert cost(way(Early(), on_pixels=True), images_B3HW)["macs"] == 100 // 4


class Attends(nn.Module):
    def __init__(self, masked: bool, whole: bool) -> None:
        super().__init__()
        self.masked = masked
        self.whole = nn.MultiheadAttention(8, 2, batch_first=True) if whole else None

    def forward(self, batch: Batch) -> Output:
        x_BND = batch.x_BCHW.flatten(2).mT[:, :10].repeat(1, 1, 3)[..., :8]
        if self.whole:
            x_BND = self.whole(x_BND, x_BND, x_BND, need_weights=False)[0]
        else:
            heads_BHND = x_BND.unflatten(2, (2, 4)).transpose(1, 2)
            keep = torch.ones(1, 1, 1, 10, dtype=torch.bool) if self.masked else None
            x_BND = scaled_dot_product_attention(heads_BHND, heads_BHND, heads_BHND, attn_mask=keep)
        return Output(x_BND, torch.ones(1, 1, 1), {})


@pytest.mark.parametrize(
    ("masked", "whole", "macs"),
    [
        (False, False, 2 * 10 * 10 * 8),  # queries with keys, weights with values
        (True, False, 2 * 10 * 10 * 8),
        (False, True, 2 * 10 * 10 * 8 + 4 * 10 * 8 * 8),  # and the projections of query, key, value and output
    ],
)
def test_fused_attention_is_counted(masked: bool, whole: bool, macs: int) -> None:
    assert cost(way(Attends(masked, whole), on_pixels=True), IMAGE)["macs"] == macs
    assert torch.backends.mha.get_fastpath_enabled(), "the next answer is as fast as before"


#: EfficientNet-B0's stages (arXiv 1905.11946, table 1) as Lite0 has them: kernel, stride, expansion, channels, layers.
STAGES = [(3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1)]  # fmt: skip


def by_hand(size: int) -> int:
    """Return the multiply-adds of EfficientNet-Lite0's convolutions: no squeeze-and-excitation, stem and head as B0."""
    side, channels = size // 2, 32
    total = side**2 * 32 * 27
    for kernel, stride, expansion, out, layers in STAGES:
        for layer in range(layers):
            wide = channels * expansion
            total += side**2 * channels * wide * (expansion > 1)
            side //= stride if layer == 0 else 1
            total += side**2 * wide * (kernel**2 + out)
            channels = out
    return total + side**2 * channels * 1280


def test_efficientnet_lite0_costs_what_its_paper_says() -> None:
    lite = efficientnet_lite0.load()
    found = cost(Way(erm.build(lite, 1000), lite, on_pixels=False), torch.zeros(1, 3, 224, 224))
    assert found["macs"] == by_hand(224) + 49 * 1280 + 1280 * 1000
    assert found["macs"] == pytest.approx(407e6, rel=0.06)  # as published, which counts more than products
    assert found["parameters"] == pytest.approx(4.7e6, rel=0.02)


# Seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves when told: the time is the sum of the list."""
    moves: list[float] = []
    monkeypatch.setattr("fieldmark.training.cost.time.perf_counter", lambda: sum(moves))
    return moves


def test_calls_take_turns_and_the_first_round_only_warms_up(clock: list[float]) -> None:
    order: list[str] = []

    def call(name: str, seconds: Iterator[float]) -> None:
        order.append(name)
        clock.append(next(seconds))

    first, second = iter([9.0, 1.0, 3.0]), iter([7.0, 2.0, 6.0])
    found = side_by_side({"a": lambda: call("a", first), "b": lambda: call("b", second)}, rounds=2)
    assert order == ["a", "b"] * 3
    assert found == {"a": [1.0, 3.0], "b": [2.0, 6.0]}


def objective(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    return cross_entropy(logits_BK, labels_B)


def test_learning_trains_a_copy_through_every_phase_and_embeds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counts(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network, self.calls = network, 0

        def forward(self, x_BCHW: Tensor) -> Tensor:
            self.calls += 1
            features_BCHW: Tensor = self.network(x_BCHW)
            return features_BCHW

    counting = Counts(backbone().module)
    module = two_stage.build(backbone(), CLASSES, first="ersm")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    one = Way(module, backbone()._replace(module=counting), on_pixels=False)
    trained: list[tuple[str, int]] = []
    fit = costs.fit

    def noted(part: nn.Module, batches, **how: object) -> object:  # type: ignore[no-untyped-def]  # as fit's
        trained.append((type(part).__name__, len(batches(0))))
        return fit(part, batches, **how)  # type: ignore[arg-type]

    monkeypatch.setattr("fieldmark.training.cost.fit", noted)
    x_B3HW = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    learn = costs.learning(one, x_B3HW, torch.tensor([0, 1]), objective, batches=3)
    learn()
    learn()
    assert trained == [("Ersm", 3), ("TwoStage", 3)] * 2
    assert counting.calls == 2, "features once, and crops once"
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_answering_goes_from_pixels_to_logits() -> None:
    seen: list[torch.Size] = []
    network = backbone().module
    network.register_forward_hook(lambda _module, given, _output: seen.append(given[0].shape))
    one = Way(erm.build(backbone(), CLASSES), backbone()._replace(module=network), on_pixels=False)
    costs.answering(one, IMAGE.repeat(5, 1, 1, 1))()
    assert seen == [torch.Size([5, 3, 16, 24])]
