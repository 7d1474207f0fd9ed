"""Pooling, the straight-through mask and ERSM's energies, against values derived by hand."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers import energy
from fieldmark.layers.boxes import centre
from fieldmark.layers.evidence import relative
from fieldmark.layers.pooling import masked_pool, true_mask
from fieldmark.layers.straight_through import straight_through
from fieldmark.models import ersm
from fieldmark.models.attentive_probe import attend

BACKBONE = Backbone(torch.nn.Identity(), 6, 1, (0.0,) * 3, (1.0,) * 3, "")


def gate(**options: object) -> energy.EnergyMask:
    built = ersm.build(BACKBONE, 3, **{**ersm.RELEASED, **options})
    assert isinstance(built, ersm.Ersm)
    return built.gate


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def neighbours(height: int, width: int) -> Tensor:
    return energy._neighbours(height, width, torch.device("cpu"))


def test_pool_counts_dropped_tokens_unless_renormalised() -> None:
    x_BCHW = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]], [[0.0, 2.0], [0.0, 0.0]]]])
    mask_Bhw = torch.tensor([[[0.0, 1.0], [0.5, 0.0]]])
    assert masked_pool(x_BCHW, mask_Bhw).tolist() == [[5.5 / 4, 0.5]]
    torch.testing.assert_close(masked_pool(x_BCHW, mask_Bhw, renormalise=True), torch.tensor([[5.5 / 1.5, 2 / 1.5]]))


def test_pool_with_ones_is_the_plain_mean_either_way() -> None:
    x_BCHW, ones_Bhw = features(2, 6, 3, 4), torch.ones(2, 3, 4)
    for renormalise in (False, True):
        torch.testing.assert_close(masked_pool(x_BCHW, ones_Bhw, renormalise=renormalise), x_BCHW.mean((2, 3)))


def test_pool_of_an_empty_mask_is_zero() -> None:
    for renormalise in (False, True):
        pooled_BC = masked_pool(features(2, 6, 3, 3), torch.zeros(2, 3, 3), renormalise=renormalise)
        assert pooled_BC.eq(0).all()


def test_a_control_without_the_true_mask_says_so() -> None:
    with pytest.raises(FieldmarkError, match="without a true mask"):
        true_mask(Batch(features(1, 6, 2, 2)))


def test_straight_through_is_hard_forward_and_soft_backward() -> None:
    z = torch.tensor([-3.0, 0.1, 3.0], requires_grad=True)
    keep = torch.sigmoid(z)
    hard = straight_through(keep)
    assert hard.tolist() == [0.0, 1.0, 1.0]
    (hard * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(z.grad, (torch.tensor([1.0, 2.0, 3.0]) * keep * (1 - keep)).detach())


def test_unary_cost_is_an_entropy_at_unit_temperature() -> None:
    z = torch.linspace(-15, 15, 301, dtype=torch.float64)
    u = energy.keep_probability(z)
    torch.testing.assert_close(u * energy.unary_energy(z), -u * u.log(), rtol=0, atol=1e-7)


def test_a_high_score_drops_and_temperature_flattens() -> None:
    z = torch.tensor([-2.0, 0.0, 2.0])
    assert energy.keep_probability(z).argsort(descending=True).tolist() == [0, 1, 2]
    torch.testing.assert_close(energy.keep_probability(z, 2.0), torch.sigmoid(-z / 2))


def test_pairwise_energy_of_a_constant_map_is_cheaper_at_the_border() -> None:
    unit_BND = energy.unit_tokens(torch.full((1, 6, 4, 5), 2.0), 1)
    cosine_BNN = torch.bmm(unit_BND, unit_BND.mT)
    price_hw = energy.feature_energy(cosine_BNN, neighbours(4, 5)).view(4, 5)
    corner, edge, interior = (math.log1p(math.exp(count)) for count in (3, 5, 8))
    assert [round(value, 2) for value in (corner, edge, interior)] == [3.05, 5.01, 8.0]
    expected_hw = torch.full((4, 5), edge)
    expected_hw[1:-1, 1:-1] = interior
    expected_hw[[0, 0, -1, -1], [0, -1, 0, -1]] = corner
    torch.testing.assert_close(price_hw, expected_hw, rtol=1e-5, atol=1e-4)
    even_N = energy.feature_energy(cosine_BNN, neighbours(4, 5), norm=True).flatten()
    torch.testing.assert_close(even_N, torch.full((20,), interior), rtol=1e-5, atol=1e-4)


def test_pairwise_energy_sums_the_cosines_of_touching_tokens() -> None:
    x_BCHW = features(1, 6, 3, 3)
    cell = F.normalize(x_BCHW[0].flatten(1).T, dim=1)
    touching = {0: [1, 3, 4], 4: [0, 1, 2, 3, 5, 6, 7, 8], 5: [1, 2, 4, 7, 8]}
    unit_BND = energy.unit_tokens(x_BCHW, 1)
    price_N = energy.feature_energy(torch.bmm(unit_BND, unit_BND.mT), neighbours(3, 3))[0]
    for token, others in touching.items():
        expected = F.softplus(sum(cell[token] @ cell[other] for other in others))
        torch.testing.assert_close(price_N[token], expected, rtol=1e-4, atol=1e-5)


def test_mask_variation_counts_alike_neighbours_that_part() -> None:
    cosine_BNN = torch.tensor([[[1.0, 0.5, -1.0], [0.5, 1.0, 0.25], [-1.0, 0.25, 1.0]]])
    keep_BN = torch.tensor([[1.0, 0.0, 0.5]])
    touch_NN = neighbours(1, 3)  # pairs 0-1 and 1-2
    expected = (0.5 * 1.0 + 0.25 * 0.25) / 2
    assert energy.mask_variation(keep_BN, cosine_BNN, touch_NN).item() == pytest.approx(expected)
    assert energy.mask_variation(torch.full((1, 3), 0.3), cosine_BNN, touch_NN).item() == 0


def test_released_gate_starts_nearly_closed_and_adds_up() -> None:
    released = gate()
    torch.nn.init.zeros_(released.score.weight)
    gated = released(torch.ones(2, 6, 3, 3))
    closed = 1 / (1 + math.exp(6))
    torch.testing.assert_close(gated.mask_Bhw, torch.full((2, 3, 3), closed))
    torch.testing.assert_close(gated.unary_B, torch.full((2,), -closed * math.log(closed)))
    grid = [(4, 3), (4, 5), (1, 8)]  # on 3 x 3: four corners, four edges, one interior
    price = sum(count * math.log1p(math.exp(alike)) for count, alike in grid) / 9
    torch.testing.assert_close(gated.pair_B, torch.full((2,), closed * price), rtol=1e-4, atol=0)
    torch.testing.assert_close(gated.energy_B, 1e-3 * gated.unary_B + 1e-3 * gated.pair_B, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("mode", "shape"), [("frozen", None), ("scalar", (1,)), ("per_position", (6,))])
def test_an_optimiser_holds_the_bias_unless_it_is_frozen(mode: str, shape: tuple[int] | None) -> None:
    learning = dict(gate(bias_mode=mode, grid=(2, 3)).named_parameters())
    assert set(learning) == ({"score.weight"} if shape is None else {"score.weight", "bias_N"})
    assert shape is None or learning["bias_N"].shape == shape
    assert gate(bias_mode=mode, grid=(2, 3)).bias_N.eq(6).all()


def test_frozen_features_leave_the_pairwise_energy_without_gradient() -> None:
    x_BCHW = features(2, 6, 3, 3)
    unit_BND = energy.unit_tokens(x_BCHW, 1)
    assert not energy.feature_energy(torch.bmm(unit_BND, unit_BND.mT), neighbours(3, 3)).requires_grad
    weight = torch.nn.Parameter(torch.ones(6))  # a backbone that learns: nothing is detached
    unit_BND = energy.unit_tokens(x_BCHW * weight[:, None, None], 1)
    energy.feature_energy(torch.bmm(unit_BND, unit_BND.mT), neighbours(3, 3)).sum().backward()
    assert weight.grad is not None and weight.grad.abs().sum() > 0


def test_the_price_of_a_token_is_paid_in_proportion_to_its_gate() -> None:
    """The gradient of gam * mean(u P) in z is -gam * P u (1 - u) / N: the pairwise term is a price, not smoothing."""
    module, x_BCHW = gate(lam=0.0, gam=1.0, bias_mode="per_position", grid=(3, 3), bias_init=0.5), features(1, 6, 3, 3)
    gated = module(x_BCHW)
    gated.energy_B.sum().backward()
    unit_BND = energy.unit_tokens(x_BCHW, 1)
    price_N = energy.feature_energy(torch.bmm(unit_BND, unit_BND.mT), neighbours(3, 3))[0]
    u_N = gated.mask_Bhw.flatten()
    torch.testing.assert_close(module.bias_N.grad, (-price_N * u_N * (1 - u_N) / 9).detach())


def test_tokens_of_two_cells_hold_all_their_channels_and_share_a_mask() -> None:
    x_BCHW = features(1, 6, 4, 6)
    unit_BND = energy.unit_tokens(x_BCHW, 2)
    assert unit_BND.shape == (1, 6, 24)
    second = x_BCHW[0, :, 0:2, 2:4].flatten()  # top row, second token
    torch.testing.assert_close(unit_BND[0, 1], second / second.norm(), rtol=1e-5, atol=1e-6)
    mask_Bhw = gate(token_size=2)(x_BCHW).mask_Bhw
    assert mask_Bhw.shape == (1, 4, 6) and mask_Bhw.unique().numel() == 6
    torch.testing.assert_close(mask_Bhw[:, ::2, ::2], mask_Bhw[:, 1::2, 1::2])


@pytest.mark.parametrize(("options", "size", "sentence"), [
    ({"token_size": 2}, (4, 5), "do not tile a 4 x 5 map"),
    ({"bias_mode": "per_position", "grid": (3, 3)}, (4, 4), "bias has 9 positions, the map 4 x 4"),
])  # fmt: skip
def test_a_map_that_does_not_fit_is_refused(options: dict[str, object], size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(FieldmarkError, match=sentence):
        gate(**options)(features(1, 6, *size))


def test_a_bias_per_position_needs_the_grid() -> None:
    with pytest.raises(FieldmarkError, match="needs `grid`"):
        gate(bias_mode="per_position")


def test_a_mask_seen_first_in_inference_can_still_be_trained() -> None:
    module, x_BCHW = gate(pair="mask_tv", bias_init=0.0), features(2, 6, 7, 3)
    energy._neighbours.cache_clear()
    with torch.inference_mode():
        module(x_BCHW)
    module(x_BCHW).pair_B.sum().backward()
    assert module.score.weight.grad is not None and module.score.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "of",
    [
        lambda mask_Bhw: masked_pool(features(1, 3, 2, 2), mask_Bhw, renormalise=True),
        centre,
        relative,
        lambda mask_Bhw: attend(features(1, 1, 2, 2).flatten(2), mask_Bhw.flatten(1)),
    ],
    ids=["masked_pool", "centre", "relative", "attend"],
)
def test_where_a_mask_is_empty_its_slope_is_finite(of: Callable[[Tensor], Tensor]) -> None:
    mask_Bhw = torch.zeros(1, 2, 2, requires_grad=True)
    of(mask_Bhw).sum().backward()
    assert mask_Bhw.grad is not None and mask_Bhw.grad.isfinite().all()
