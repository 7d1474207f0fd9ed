"""What shapes parts without labels (iFAM, arXiv 2506.08915; PDiscoFormer, arXiv 2407.04538): scalars, least at best.

``part_BKhw`` are probabilities of the parts, the background's last; they sum to 1 over K. All in single precision.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TINY = 1e-12  # below any probability that matters; keeps logarithms finite
TURN, SHIFT, SCALE = math.pi / 2, 0.11, (0.8, 1.4)  # how far a picture is warped for ``equivariance``, as released


def presence(part_BKhw: Tensor) -> Tensor:
    """Return 1 - mean over parts of their strongest 3 x 3 patches: each part must appear somewhere in the batch.

    It depends on the batch's size: in a larger one more parts are present.
    """
    return 1 - _blurred(part_BKhw[:, :-1]).amax((0, 2, 3)).mean()


def background_presence(part_BKhw: Tensor) -> Tensor:
    """Return -ln of the background's strongest 3 x 3 patches, weighted by their distance from the middle, squared.

    So the background must reach every picture's edge; in the corners the weight is 1.
    """
    background_Bhw = _blurred(part_BKhw[:, -1:]).squeeze(1)
    y_h, x_w = (torch.linspace(-1, 1, side, device=part_BKhw.device) for side in background_Bhw.shape[1:])
    far_hw = y_h.square()[:, None] + x_w.square()
    reached_B = (background_Bhw * far_hw / far_hw.max()).amax((1, 2))
    return -reached_B.clamp_min(torch.finfo(reached_B.dtype).tiny).log().mean()  # where it is least, it must still pull


def variation(part_BKhw: Tensor) -> Tensor:
    """Return the total variation of all maps, per patch.

    >>> variation(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])).item()  # two maps, one step each, two patches
    1.0
    """
    steps = sum(part_BKhw.diff(dim=axis).abs().sum() for axis in (2, 3))
    return torch.as_tensor(steps / part_BKhw[:, 0].numel())


def entropy(part_BKhw: Tensor) -> Tensor:
    """Return the mean over patches of the entropy over parts, in nats: each patch must belong to one part.

    >>> round(entropy(torch.full((1, 4, 2, 2), 0.25)).item(), 4) == round(math.log(4), 4)
    True
    """
    return -(part_BKhw * part_BKhw.clamp_min(TINY).log()).sum(1).mean()


def orthogonality(vector_BKD: Tensor) -> Tensor:
    """Return the mean over the Gram matrix (K, K) of the squared difference to the identity: parts must differ.

    The released code hands in the transposed vectors and so makes feature dimensions differ, not parts.

    >>> orthogonality(torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])).item()  # two of four entries are 1 instead of 0
    0.5
    """
    unit_BKD = F.normalize(vector_BKD, dim=2)
    gram_BKK = torch.bmm(unit_BKD, unit_BKD.mT)
    return (gram_BKK - torch.eye(gram_BKK.shape[1], device=gram_BKK.device)).square().mean()


def equivariance(part_BKhw: Tensor, warped_BKhw: Tensor, back_23: Tensor) -> Tensor:
    """Return 1 - mean cosine of the parts' maps with those of the warped picture, warped back.

    What the warp moves out of the frame is lost and counts as different, as in the paper.

    Args:
        part_BKhw: of the picture.
        warped_BKhw: of the warped picture.
        back_23: the inverse warp.
    """
    again_BKhw = warp(warped_BKhw, back_23)
    return 1 - F.cosine_similarity(part_BKhw[:, :-1].flatten(2), again_BKhw[:, :-1].flatten(2), dim=2).mean()


def draw_warp(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw a rotation, a shift and a scale; return the warp and its inverse, for ``warp``."""
    angle, zoom, *shift = torch.rand(4, device=device).unbind()  # stays on the device: nothing waits for it
    low, high = SCALE
    move_2 = (2 * torch.stack(shift) - 1) * 2 * SHIFT  # the frame is 2 wide
    return rigid((2 * angle - 1) * TURN, low + zoom * (high - low), move_2, height / width)


def rigid(angle: Tensor, scale: Tensor, move_2: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Return the affine map (2, 3) of sampling positions p -> R p / scale + move, and its inverse.

    Args:
        angle: radians.
        scale: above 1, the picture grows.
        move_2: x and y, where the frame is [-1, 1] in both.
        aspect: height over width: a turn must not shear a picture that isn't square.

    >>> there_23, back_23 = rigid(torch.tensor(0.3), torch.tensor(1.2), torch.tensor([0.1, -0.2]), 2.0)
    >>> whole = [torch.cat([m, torch.tensor([[0.0, 0.0, 1.0]])]) for m in (there_23, back_23)]
    >>> bool((whole[0] @ whole[1] - torch.eye(3)).abs().max() < 1e-6)
    True
    """
    cosine, sine = angle.cos(), angle.sin()
    turn_22 = torch.stack([cosine, -sine * aspect, sine / aspect, cosine]).view(2, 2) / scale
    back_22 = torch.stack([cosine, sine * aspect, -sine / aspect, cosine]).view(2, 2) * scale
    with torch.autocast(angle.device.type, enabled=False):
        back_21 = -back_22 @ move_2[:, None]
    return torch.cat([turn_22, move_2[:, None]], 1), torch.cat([back_22, back_21], 1)


def warp(x_BCHW: Tensor, map_23: Tensor) -> Tensor:
    """Return the picture sampled at the mapped positions, bilinearly; outside the frame it is 0."""
    with torch.autocast(x_BCHW.device.type, enabled=False):  # in half precision, positions are a pixel off
        grid_BHW2 = F.affine_grid(map_23.expand(len(x_BCHW), -1, -1), list(x_BCHW.shape), align_corners=False)
    return F.grid_sample(x_BCHW, grid_BHW2, align_corners=False)


def _blurred(x_BKhw: Tensor) -> Tensor:
    """Return the means over 3 x 3 patches that lie in the map, or over all of a smaller map."""
    return F.avg_pool2d(x_BKhw, (min(3, x_BKhw.shape[2]), min(3, x_BKhw.shape[3])), stride=1)
