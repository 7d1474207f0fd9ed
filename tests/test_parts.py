"""Parts of a picture, the mask that they make, and the losses that shape them, against values derived by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_vits import noise

from fieldmark.layers import part_losses, parts

# parts and their mask


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_hard_mask_is_exactly_the_argmax_not_being_background(dtype: torch.dtype) -> None:
    part_BKhw = parts.likelihoods(3 * noise(4, 5, 8, 8)).to(dtype)
    mask_Bhw = parts.foreground(part_BKhw)
    assert mask_Bhw.dtype == dtype and torch.equal(mask_Bhw.bool(), part_BKhw[:, :-1].amax(1) > part_BKhw[:, -1])
    assert set(mask_Bhw.unique().tolist()) == {0.0, 1.0}


def test_the_hard_mask_is_the_max_forward_and_the_sum_backward() -> None:
    part_BKhw = parts.likelihoods(noise(1, 4, 3, 3)).requires_grad_()
    parts.foreground(part_BKhw).sum().backward()
    assert part_BKhw.grad is not None
    assert part_BKhw.grad[:, :-1].eq(1).all() and part_BKhw.grad[:, -1].eq(0).all()
    soft_BKhw = part_BKhw.detach().requires_grad_()
    parts.foreground(soft_BKhw, soft=True).sum().backward()
    likeliest_BKhw = F.one_hot(soft_BKhw[:, :-1].argmax(1), 3).permute(0, 3, 1, 2).float()
    assert soft_BKhw.grad is not None and torch.equal(soft_BKhw.grad[:, :-1], likeliest_BKhw)


def test_a_dropped_part_is_background_and_a_kept_one_keeps_its_value() -> None:
    part_BKhw = torch.tensor([0.75, 0.25]).view(1, 2, 1, 1).expand(4000, -1, -1, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight_B = parts.foreground(part_BKhw, soft=True, dropout=0.3).flatten()
    assert set(weight_B.unique().tolist()) == {0.0, 0.75}
    assert (weight_B == 0).float().mean().item() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 4000) ** 0.5)


def test_gumbel_noise_draws_a_part_as_often_as_it_is_likely() -> None:
    """The argmax of logits with Gumbel noise follows the softmax (arXiv 1611.01144, equation 1)."""
    chances_K = torch.tensor([0.5, 0.3, 0.2])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn_BK = parts.likelihoods(chances_K.log().expand(20_000, 3)[..., None, None], draw=True)
    share_K = F.one_hot(drawn_BK.argmax(1).flatten(), 3).float().mean(0)
    assert (share_K - chances_K).abs().max() < 4 * (0.25 / 20_000) ** 0.5


def test_only_unsure_patches_lose_their_part() -> None:
    logits_BKhw = torch.tensor([[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]).view(1, 3, 1, 2)
    dot_BKhw = torch.tensor([[5.0, 1.0], [9.0, 9.0], [-9.0, -9.0]]).view(1, 3, 1, 2)
    told_BKhw = parts.confident(logits_BKhw, dot_BKhw, torch.tensor([2.0, -math.inf]))
    assert told_BKhw.argmax(1).flatten().tolist() == [0, 1]


# losses


def test_presence_wants_every_part_somewhere_in_the_batch() -> None:
    part_BKhw = torch.zeros(2, 3, 4, 4)
    part_BKhw[:, 2] = 1
    part_BKhw[0, :, :3, :3] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    assert part_losses.presence(part_BKhw).item() == pytest.approx(0.5), "the first part is there, the second nowhere"
    part_BKhw[1, :, 1:, 1:] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    assert part_losses.presence(part_BKhw).item() == pytest.approx(0.0)
    assert part_losses.presence(torch.full((2, 4, 5, 5), 0.25)).item() == pytest.approx(0.75)


def test_background_presence_wants_background_at_the_edge() -> None:
    part_BKhw = torch.zeros(1, 2, 7, 7)
    part_BKhw[:, 1] = 1
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(0.0)
    part_BKhw[:, 1] = 0
    part_BKhw[0, 1, 0:3, 2:5] = 1  # the middle of the upper edge: 1 of the 2 that a corner has
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(math.log(2))
    part_BKhw[:, 1] = 0.1
    assert part_losses.background_presence(part_BKhw).item() == pytest.approx(math.log(10), rel=1e-4)


def test_a_background_that_is_almost_nowhere_is_still_pulled_back() -> None:
    logits_BKhw = torch.zeros(1, 2, 3, 3)
    logits_BKhw[:, 0] = 40.0
    logits_BKhw.requires_grad_()
    lost = part_losses.background_presence(logits_BKhw.softmax(1))
    lost.backward()
    assert lost.item() > 39 and logits_BKhw.grad is not None and logits_BKhw.grad[:, 1].amin() < -0.1


def test_orthogonality_is_about_parts_in_any_order() -> None:
    vector_BKD = noise(3, 5, 16)
    value = part_losses.orthogonality(vector_BKD)
    torch.testing.assert_close(part_losses.orthogonality(vector_BKD[:, [4, 2, 0, 1, 3]]), value)
    assert part_losses.orthogonality(torch.eye(5)[None]).item() == 0, "5 parts that differ, whatever the dimensions"
    assert part_losses.orthogonality(torch.ones(1, 5, 16)).item() == pytest.approx((25 - 5) / 25)
    assert part_losses.orthogonality(torch.eye(16)[None, :5].mT).item() == pytest.approx(11 / 256), "as released"


def test_the_mask_of_a_turned_picture_is_the_turned_mask() -> None:
    """Parts that are colours follow any turn, so by a right angle nothing is left to pay, nor lost from the frame."""
    x_BCHW = noise(2, 3, 6, 6).repeat_interleave(4, 2).repeat_interleave(4, 3)
    part_BKhw = (4 * x_BCHW).softmax(1)
    there_23, back_23 = part_losses.rigid(torch.tensor(math.pi / 2), torch.tensor(1.0), torch.zeros(2), 1.0)
    turned_BCHW = part_losses.warp(x_BCHW, there_23)
    torch.testing.assert_close(turned_BCHW, x_BCHW.rot90(1, (2, 3)), rtol=0, atol=1e-4)
    turned_BKhw = (4 * turned_BCHW).softmax(1)
    assert part_losses.equivariance(part_BKhw, turned_BKhw, back_23).item() == pytest.approx(0.0, abs=1e-3)
    assert part_losses.equivariance(part_BKhw, turned_BKhw, there_23) > 0.1


def test_a_warp_is_exact_where_a_training_is_not() -> None:
    x_BCHW, drawn = noise(1, 1, 224, 224), (torch.tensor(0.7), torch.tensor(1.1), torch.tensor([0.1, -0.2]), 1.0)
    there_23, back_23 = part_losses.rigid(*drawn)
    expected_BCHW = part_losses.warp(x_BCHW, there_23)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(part_losses.rigid(*drawn)[1], back_23)
        assert torch.equal(part_losses.warp(x_BCHW, there_23), expected_BCHW)


def test_warps_stay_within_their_limits() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [part_losses.draw_warp(8, 8, torch.device("cpu"))[0] for _ in range(500)]
    scale_N = torch.stack([(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) ** -0.5 for m in drawn])
    move_N2 = torch.stack([m[:, 2] for m in drawn])
    assert 0.8 <= scale_N.min() < 0.82 and 1.38 < scale_N.max() <= 1.4
    assert 0.21 < move_N2.abs().max() <= 0.22, "11 % of a frame that is 2 wide"
    assert all(m[0, 0] >= 0 for m in drawn), "turns of up to a right angle"
