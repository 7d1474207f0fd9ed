"""ERSM's acceptance tests on the whole model: its formulas, what its authors' code does, its backbone that learns."""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.evidence import class_evidence
from fieldmark.models import cam, erm, ersm, finetune, token_norm
from fieldmark.training.fit import fit, initialised

CHANNELS, CLASSES, PATCH = 6, 3, 4


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backbone(module: nn.Module | None = None) -> Backbone:
    return Backbone(module or nn.Identity(), CHANNELS, PATCH, (0.0,) * 3, (1.0,) * 3, "")


def model(**options: Any) -> ersm.Ersm:
    built = initialised(lambda: ersm.build(backbone(), CLASSES, **options), 0)
    assert isinstance(built, ersm.Ersm)
    return built


def trained(module: nn.Module, x_NCHW: Tensor) -> None:
    def batches(epoch: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
        labels_N = torch.arange(len(x_NCHW)) % CLASSES
        yield Batch(x_NCHW), labels_N, labels_N

    def objective(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
        return F.cross_entropy(logits_BK, labels_B)

    fit(module, batches, objective=objective, epochs=3, lr=1e-2, weight_decay=0.0)


def test_a_bias_may_be_a_whole_number() -> None:
    assert model(bias_init=0, bias_mode="scalar").state_dict()["gate.bias_N"].dtype == torch.float32


# The formulas.


def prices(x_BCHW: Tensor) -> Tensor:
    """Return softplus(sum of cosines over touching tokens) (B, N), by another way: distances between places."""
    token_BNC = F.normalize(x_BCHW.flatten(2), dim=1).mT
    place_N2 = torch.cartesian_prod(*(torch.arange(float(side)) for side in x_BCHW.shape[2:]))
    touch_NN = torch.cdist(place_N2, place_N2, p=float("inf")).round() == 1
    return F.softplus((token_BNC @ token_BNC.mT * touch_NN).sum(2))


def test_the_energy_is_an_entropy_and_a_price_times_their_weights() -> None:
    module, inputs = model(lam=0.3, gam=0.7, bias_init=0.5), Batch(draws(4, CHANNELS, 3, 5))
    output = module(inputs)
    u_BN = output.mask_Bhw.flatten(1)
    entropy_B, priced_B = (-u_BN * u_BN.log()).mean(1), (u_BN * prices(inputs.x_BCHW)).mean(1)
    torch.testing.assert_close(output.extras["unary"], entropy_B, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.extras["pair"], priced_B, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output.extras["energy"], 0.3 * entropy_B + 0.7 * priced_B, rtol=1e-4, atol=1e-6)


def test_what_is_logged_does_not_depend_on_the_weights_it_is_charged_at() -> None:
    inputs = Batch(draws(4, CHANNELS, 3, 3))
    free, dear = model(lam=0.0, gam=0.0)(inputs), model(lam=1.0, gam=1.0)(inputs)
    assert torch.equal(free.extras["unary"], dear.extras["unary"])
    assert torch.equal(free.extras["pair"], dear.extras["pair"])
    assert free.extras["energy"].eq(0).all() and dear.extras["energy"].gt(0).all()
    assert torch.equal(free.logits_BK, dear.logits_BK)


def test_on_frozen_features_the_pairwise_energy_moves_nothing_but_the_score_and_only_through_the_gate() -> None:
    """Its gradient in the score's weights is that of gam * mean(u P) at a constant price P; other weights get none."""
    module, x_BCHW = model(lam=0.0, gam=1.0, bias_init=0.5), draws(4, CHANNELS, 3, 3)
    output = module(Batch(x_BCHW))
    parameters = dict(module.named_parameters())
    found = torch.autograd.grad(output.extras["energy"].sum(), [*parameters.values()], allow_unused=True)
    moved = {name: gradient for name, gradient in zip(parameters, found, strict=True) if gradient is not None}
    assert set(moved) == {"gate.score.weight"}
    token_BNC = F.normalize(x_BCHW.flatten(2), dim=1).mT
    u_BN = output.mask_Bhw.detach().flatten(1)
    by_hand_1C = -(prices(x_BCHW) * u_BN * (1 - u_BN)).unsqueeze(1).matmul(token_BNC).sum(0) / 9
    torch.testing.assert_close(moved["gate.score.weight"], by_hand_1C, rtol=1e-4, atol=1e-5)


def test_a_high_score_drops_a_token() -> None:
    output = model(bias_init=0.0)(Batch(draws(4, CHANNELS, 3, 3)))
    torch.testing.assert_close(output.mask_Bhw, torch.sigmoid(-output.extras["z"]))


@pytest.mark.parametrize("options", [{}, {"gate": "ste"}, {"renormalise": True}, {"pair": "mask_tv"}], ids=str)
def test_forced_ones_are_average_pooling_and_the_classifier(options: dict[str, Any]) -> None:
    module, x_BCHW = model(**options), draws(4, CHANNELS, 3, 5)
    logits_BK = module(Batch(x_BCHW), torch.ones(4, 3, 5)).logits_BK
    torch.testing.assert_close(logits_BK, module.linear(F.adaptive_avg_pool2d(x_BCHW, 1).flatten(1)))


@pytest.mark.parametrize(
    ("side", "token_size", "tokens"), [(7, 1, 49), (8, 1, 64), (8, 2, 16), (14, 1, 196), (14, 2, 49)]
)
def test_token_sizes_of_the_paper_give_its_number_of_tokens(side: int, token_size: int, tokens: int) -> None:
    mask_Bhw = model(token_size=token_size)(Batch(draws(1, CHANNELS, side, side))).mask_Bhw
    assert mask_Bhw.shape == (1, side, side) and mask_Bhw.unique().numel() == tokens


def test_tokens_of_two_do_not_tile_seven() -> None:
    with pytest.raises(FieldmarkError, match="2 x 2 do not tile a 7 x 7 map"):
        model(token_size=2)(Batch(draws(1, CHANNELS, 7, 7)))


# What the authors' code does, and what can be had instead.


def test_released_is_the_default_and_starts_nearly_closed() -> None:
    inputs = Batch(draws(4, CHANNELS, 3, 3))
    output = model()(inputs)
    assert torch.equal(output.logits_BK, model(**ersm.RELEASED)(inputs).logits_BK)
    assert output.mask_Bhw.max() < 1 / (1 + math.exp(5))  # tokens have unit length, the score's weights are below 1


@pytest.mark.parametrize(("mode", "moves"), [("frozen", False), ("scalar", True), ("per_position", True)])
def test_training_moves_the_bias_unless_it_is_frozen(mode: str, moves: bool) -> None:
    module = model(bias_mode=mode, grid=(2, 2))
    trained(module, draws(12, CHANNELS, 2, 2))
    assert module.gate.bias_N.ne(6).any() == moves
    assert "gate.bias_N" in module.state_dict()


def border(pair: str) -> Tensor:
    """Return u (5, 5) where nothing but the pairwise price teaches: a gate of biases on a map without content."""
    module = model(lam=0.0, gam=1.0, pair=pair, bias_init=0.0, bias_mode="per_position", grid=(5, 5))
    nn.init.zeros_(module.gate.score.weight)
    nn.init.zeros_(module.linear.weight)
    optimiser = torch.optim.SGD([module.gate.bias_N], lr=1.0)
    inputs = Batch(torch.ones(1, CHANNELS, 5, 5))
    for _ in range(5):
        optimiser.zero_grad()
        module(inputs).extras["energy"].mean().backward()
        optimiser.step()
    return module(inputs).mask_Bhw[0].detach()


def test_the_released_price_leaves_the_border_open_and_the_corrected_one_does_not() -> None:
    released_hw, corrected_hw = border("feature8"), border("feature8_norm")
    corner, edge, interior = released_hw[0, 0], released_hw[0, 2], released_hw[2, 2]
    assert corner > edge > interior
    torch.testing.assert_close(corrected_hw, corrected_hw[2, 2].expand(5, 5), rtol=1e-5, atol=0)
    torch.testing.assert_close(corrected_hw[2, 2], interior, rtol=1e-5, atol=0)  # which has all 8 neighbours


def test_only_a_coupled_mask_pulls_neighbours_together() -> None:
    """The released pairwise term treats two tokens alike whatever their neighbours' gates; ``mask_tv`` does not."""
    alike = Batch(torch.ones(1, CHANNELS, 1, 3))

    def pull(pair: str, left: float) -> float:
        """Return the gradient in the middle token's bias when its left neighbour's is ``left``."""
        module = model(lam=0.0, gam=1.0, pair=pair, bias_mode="per_position", grid=(1, 3))
        nn.init.zeros_(module.gate.score.weight)
        with torch.no_grad():
            module.gate.bias_N.copy_(torch.tensor([left, 0.0, 0.0]))
        module(alike).extras["energy"].sum().backward()
        assert module.gate.bias_N.grad is not None
        return float(module.gate.bias_N.grad[1])

    assert pull("feature8", -3.0) == pull("feature8", 3.0) < 0
    assert pull("mask_tv", 0.0) == 0
    assert (
        pull("mask_tv", -3.0) > 0 > pull("mask_tv", 3.0)
    )  # SGD goes against it: z falls, u rises towards the open one


def test_half_precision_leaves_the_gate_exact() -> None:
    module, inputs = model(), Batch(draws(4, CHANNELS, 3, 3))
    with torch.autocast("cpu", torch.bfloat16):
        output = module(inputs)
    assert torch.equal(output.extras["z"], module(inputs).extras["z"])
    assert output.mask_Bhw.dtype == output.extras["energy"].dtype == torch.float32


# On pixels.


class Normed(nn.Sequential):
    """Patches, batch normalisation and dropout: all that behaves otherwise in training."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, CHANNELS, PATCH, PATCH), nn.BatchNorm2d(CHANNELS), nn.Dropout(0.5))


def on_pixels(**options: Any) -> finetune.Finetune:
    source = backbone(initialised(Normed, 0).eval().requires_grad_(False))
    built = initialised(lambda: finetune.build(source, CLASSES, head="ersm", **options), 0)
    assert isinstance(built, finetune.Finetune)
    assert not any(parameter.requires_grad for parameter in source.module.parameters()), "a copy is trained"
    return built


def test_ersm_on_pixels_is_ersm_on_the_backbones_features() -> None:
    module, inputs = on_pixels(head_options={"bias_init": 0.0}).eval(), Batch(draws(4, 3, 12, 12))
    features = Batch(module.backbone(inputs.x_BCHW))
    output, expected = module(inputs), module.head(features)
    assert torch.equal(output.logits_BK, expected.logits_BK) and torch.equal(output.mask_Bhw, expected.mask_Bhw)
    assert output.extras.keys() == {*expected.extras, "norm"}
    torch.testing.assert_close(output.extras["norm"], features.x_BCHW.norm(dim=1))


def test_a_backbone_that_learns_is_taught_by_the_energy_too() -> None:
    module = on_pixels(head_options={"bias_init": 0.0}).train()
    module(Batch(draws(4, 3, 12, 12))).extras["pair"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.backbone.parameters())


@pytest.mark.parametrize(
    ("options", "weights_move", "statistics_move"),
    [
        ({}, True, False),
        ({"freeze_bn": False}, True, True),
        ({"lr_factor": 0.0}, False, False),
        ({"lr_factor": 0.0, "freeze_bn": False}, False, True),  # the released "frozen" backbone
    ],
    ids=["default", "all moves", "frozen", "released"],
)
def test_what_training_moves_in_a_backbone(options: dict[str, Any], weights_move: bool, statistics_move: bool) -> None:
    module, images_NCHW = on_pixels(head_options={"bias_init": 0.0}, **options), draws(12, 3, 8, 8)
    before = {name: value.clone() for name, value in module.backbone.state_dict().items()}
    trained(module, images_NCHW)
    moved = {name for name, value in module.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert ("0.weight" in moved, "1.running_mean" in moved) == (weights_move, statistics_move)


def test_a_frozen_backbone_answers_in_training_as_it_does_later_unless_released() -> None:
    inputs = Batch(draws(4, 3, 12, 12))
    frozen = on_pixels(lr_factor=0.0)
    assert torch.equal(frozen.train()(inputs).logits_BK, frozen.eval()(inputs).logits_BK)
    released = on_pixels(lr_factor=0.0, freeze_bn=False)
    assert not torch.equal(released.train()(inputs).logits_BK, released.eval()(inputs).logits_BK)


@pytest.mark.parametrize("head", ["finetune", "oracle_mask"])
def test_a_head_that_cannot_stand_on_features_alone_is_refused(head: str) -> None:
    with pytest.raises(FieldmarkError, match=f"can't train '{head}' as its head"):
        finetune.build(backbone(), CLASSES, head=head)


def test_options_that_nothing_takes_are_refused() -> None:
    with pytest.raises(FieldmarkError, match="head_options and no head to take them"):
        finetune.build(backbone(), CLASSES, head_options={"gate": "ste"})
    with pytest.raises(FieldmarkError, match="the temperature 0.0: give one above 0"):
        ersm.build(backbone(), CLASSES, temperature=0.0)


# The masks that cost nothing, to compare with.


def test_token_norm_weighs_tokens_by_their_length_whatever_the_scale() -> None:
    x_BCHW = torch.zeros(2, CHANNELS, 1, 3)
    x_BCHW[0, 0, 0], x_BCHW[0, 1, 0] = torch.tensor([3.0, 0.0, 6.0]), torch.tensor([4.0, 1.0, 8.0])
    mask_Bhw = token_norm.relative_norm(Batch(x_BCHW))
    torch.testing.assert_close(mask_Bhw, torch.tensor([[[0.5, 0.1, 1.0]], [[0.0, 0.0, 0.0]]]))
    torch.testing.assert_close(token_norm.relative_norm(Batch(7 * x_BCHW)), mask_Bhw)
    module = token_norm.build(backbone(), CLASSES)
    pooled_C = (x_BCHW[0] * mask_Bhw[0]).mean((1, 2))
    torch.testing.assert_close(module(Batch(x_BCHW)).logits_BK[0], module.linear(pooled_C))


def test_cam_answers_as_the_plain_network_and_its_evidence_adds_up_to_the_logit() -> None:
    inputs = Batch(draws(8, CHANNELS, 3, 5))
    module, plain = (initialised(partial(build, backbone(), CLASSES), 0) for build in (cam.build, erm.build))
    logits_BK = module(inputs).logits_BK
    assert torch.equal(logits_BK, plain(inputs).logits_BK)
    won_B = logits_BK.argmax(1)
    evidence_Bhw = class_evidence(inputs.x_BCHW, module.linear.weight, won_B)
    torch.testing.assert_close(evidence_Bhw.mean((1, 2)) + module.linear.bias[won_B], logits_BK.amax(1))


def test_cam_shows_who_spoke_for_the_winner_and_mutes_who_spoke_against() -> None:
    module = cam.build(backbone(), 2)
    with torch.no_grad():
        module.linear.weight.zero_()[:, :2] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        module.linear.bias.zero_()
    x_BCHW = torch.zeros(2, CHANNELS, 1, 3)
    x_BCHW[0, 0, 0], x_BCHW[0, 1, 0] = torch.tensor([8.0, 2.0, -1.0]), torch.tensor([0.0, 2.0, 3.0])
    x_BCHW[1, :2] = -1.0
    mask_Bhw = module(Batch(x_BCHW)).mask_Bhw
    assert mask_Bhw.tolist() == [[[1.0, 0.25, 0.0]], [[0.0, 0.0, 0.0]]]
    module.centred = True  # half of what speaks for one class less what speaks for the other: 4, 0, -2
    assert module(Batch(x_BCHW[:1])).mask_Bhw.tolist() == [[[1.0, 0.0, 0.0]]]


def test_centred_evidence_forgets_what_all_classes_share() -> None:
    inputs = Batch(draws(4, CHANNELS, 3, 3))
    module = initialised(lambda: cam.build(backbone(), CLASSES, centred=True), 0)
    before_Bhw = module(inputs).mask_Bhw
    with torch.no_grad():
        module.linear.weight += draws(1, CHANNELS, seed=1)
    torch.testing.assert_close(module(inputs).mask_Bhw, before_Bhw, rtol=1e-4, atol=1e-5)
