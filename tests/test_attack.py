"""Attacks find optima derived by hand, change only what they may, and find no less with more steps or restarts."""

import pytest
import torch
from torch import Tensor, nn

from fieldmark.core.device import ready
from fieldmark.layers.apgd import apgd
from fieldmark.layers.attack import Target, cross_entropy, dlr, margin, pgd
from fieldmark.layers.attacks import KINDS, harder

DEVICES = sorted({"cpu", ready()})
ATTACKS = pytest.mark.parametrize("find", [pgd, apgd])


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


def pictures(device: str = "cpu", count: int = 8, side: int = 6) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.manual_seed(1)).to(device)


def linear(device: str = "cpu", classes: int = 2, side: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * side * side, classes)).requires_grad_(False).to(device)


def bent(classes: int = 5) -> nn.Module:
    torch.manual_seed(0)
    hidden = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 36, classes))
    return hidden.requires_grad_(False)


def aim(net, x_BCHW: Tensor, **more) -> Target:
    labels_B = net(x_BCHW).argmax(1)
    return Target(net, x_BCHW, labels_B, torch.arange(len(x_BCHW), device=x_BCHW.device), **more)


# What can be derived by hand


@ATTACKS
def test_a_linear_model_falls_at_its_optimum(find, device):
    net, x_BCHW = linear(device), pictures(device)
    target = aim(net, x_BCHW)
    weight_KD = net[1].weight
    way_B = (weight_KD[1] - weight_KD[0])[None] * (1 - 2 * target.labels_B)[:, None]  # towards the other class
    optimum = (x_BCHW + 0.1 * way_B.sign().view_as(x_BCHW)).clamp(0, 1)
    found = find(target, eps=0.1)
    torch.testing.assert_close(found.x_BCHW, optimum, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.margin_B, margin(net(optimum), target.labels_B))


@ATTACKS
def test_pixels_outside_the_region_stay_to_the_last_bit(find, device):
    x_BCHW = pictures(device)
    region_B1HW = torch.zeros(8, 1, 6, 6, device=device)
    region_B1HW[:, :, :2] = 1
    found = find(aim(linear(device), x_BCHW, region_B1HW=region_B1HW), eps=0.1, restarts=3)
    assert torch.equal(found.x_BCHW[:, :, 2:], x_BCHW[:, :, 2:])
    assert (found.x_BCHW[:, :, :2] != x_BCHW[:, :, :2]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_no_attack_leaves_its_ball_or_the_range(kind, device):
    x_BCHW = pictures(device).round()  # black and white: half of the ball is out of range
    net = linear(device)
    found = harder(kind, aim(net, x_BCHW, through=net), eps=0.05, steps=5, restarts=2)
    assert found.x_BCHW.min() >= 0 and found.x_BCHW.max() <= 1
    assert (found.x_BCHW - x_BCHW).abs().max() <= 0.05 + 1e-7
    untouched = harder(kind, aim(net, x_BCHW, through=net), eps=0, steps=5, restarts=2)
    assert torch.equal(untouched.x_BCHW, x_BCHW)


def test_a_threshold_falls_exactly_when_the_distance_reaches_it():
    """The answer is the sign of (pixel - 1/2); pixels are 1/8, 1/4 and 1/2 above it."""
    x_B111 = torch.tensor([0.625, 0.75, 1.0]).view(3, 1, 1, 1)

    def net(x: Tensor) -> Tensor:
        above_B = x.flatten() - 0.5
        return torch.stack([above_B, -above_B], 1)

    for find in (pgd, apgd):
        for eps, fooled in {0.1: [0, 0, 0], 0.2: [1, 0, 0], 0.3: [1, 1, 0], 0.6: [1, 1, 1]}.items():
            assert (find(aim(net, x_B111), eps=eps).margin_B > 0).int().tolist() == fooled


def test_losses_by_hand():
    logits_BK, labels_B = torch.tensor([[3.0, 1.0, 0.0, -1.0]]), torch.tensor([1])
    assert margin(logits_BK, labels_B).item() == 2
    assert dlr(logits_BK, labels_B).item() == pytest.approx(2 / 3)
    assert dlr(logits_BK[:, :2], labels_B).item() == 2
    assert cross_entropy(logits_BK, labels_B).item() == pytest.approx(-logits_BK.log_softmax(1)[0, 1].item())


# More of anything never finds less


@ATTACKS
def test_more_restarts_never_find_less(find):
    margins = [find(aim(bent(), pictures()), eps=0.02, steps=4, restarts=count).margin_B for count in (1, 2, 4)]
    assert all((after >= before).all() for before, after in zip(margins, margins[1:], strict=False))


def test_more_steps_never_find_less():
    margins = [pgd(aim(bent(), pictures()), eps=0.02, steps=count, restarts=2).margin_B for count in (0, 1, 3, 10, 30)]
    assert all((after >= before).all() for before, after in zip(margins, margins[1:], strict=False))


def test_an_attack_is_no_weaker_than_the_picture_as_it_is():
    target = aim(bent(), pictures())
    clean_B = margin(target.answers(target.x_BCHW), target.labels_B)
    for kind in ("pgd", "apgd", "one_step", "random"):
        assert (harder(kind, target, eps=0.01, steps=3, restarts=1).margin_B >= clean_B).all()


@ATTACKS
def test_what_is_found_hangs_on_no_other_example(find):
    target = aim(bent(), pictures())
    whole = find(target, eps=0.02, restarts=3).x_BCHW
    order = torch.tensor([5, 0, 3])
    some = Target(target.answers, target.x_BCHW[order], target.labels_B[order], target.key_B[order])
    torch.testing.assert_close(find(some, eps=0.02, restarts=3).x_BCHW, whole[order], rtol=0, atol=1e-6)


def test_nothing_waits_for_the_device():
    """On the meta device no value can be read."""
    net, x_BCHW = linear().to("meta"), torch.empty(2, 3, 6, 6, device="meta")
    label_B = torch.empty(2, dtype=torch.int64, device="meta")
    for find in (pgd, apgd):
        assert find(Target(net, x_BCHW, label_B, label_B), eps=0.1, restarts=2).x_BCHW.shape == x_BCHW.shape
