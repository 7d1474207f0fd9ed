"""Which tokens made a model give its answer: maps by captum, beside the mask that a model has of its own.

On features the tokens are those of the frozen backbone, which is not run again; on pixels they are squares of pixels,
and Grad-CAM looks at the model's own ``backbone``. All explain the logit of a class that is given.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.training.fit import Triples, move

Floats = npt.NDArray[np.float64]
STEPS = 20  # of integrated gradients: Gauss-Legendre points, exact where the logit is a polynomial of degree below 40
AT_ONCE = 8  # hidden tokens a pass


class Answer(nn.Module):
    """A model as captum wants it: tensors in, logits out; ``seen`` is the layer whose output Grad-CAM weighs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.source = nn.Identity()
        self.seen = getattr(module, "backbone", self.source)

    def forward(self, x_BCHW: Tensor, object_Bhw: Tensor | None, key_B: Tensor | None) -> Tensor:
        """Return the logits (B, K)."""
        logits_BK: Tensor = self.module(Batch(self.source(x_BCHW), object_Bhw, key_B)).logits_BK
        return logits_BK.float()


Maker = Callable[[Answer, Tensor, dict[str, Any], tuple[int, int]], Tensor]


def gradcam(answer: Answer, x_BCHW: Tensor, asked: dict[str, Any], grid: tuple[int, int]) -> Tensor:
    """Return Grad-CAM (B, h, w), not negative: channels weighed by their mean gradient (arXiv 1610.02391).

    Under a mean of all tokens and a linear classifier it is the positive part of what each token contributes.
    """
    from captum.attr import LayerGradCam

    map_B1hw: Tensor = LayerGradCam(answer, answer.seen).attribute(
        x_BCHW.requires_grad_(), relu_attributions=True, **asked
    )
    return map_B1hw.squeeze(1)


def integrated_gradients(answer: Answer, x_BCHW: Tensor, asked: dict[str, Any], grid: tuple[int, int]) -> Tensor:
    """Return integrated gradients (B, h, w) from zeros, summed over channels and pixels (arXiv 1703.01365).

    Their sum is the logit less that of an input of zeros: of pixels, a picture of the mean colour.
    """
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(answer)
    gained_BCHW: Tensor = method.attribute(x_BCHW, n_steps=STEPS, internal_batch_size=4 * len(x_BCHW), **asked)
    (B, _, H, W), (h, w) = gained_BCHW.shape, grid
    return gained_BCHW.sum(1).reshape(B, h, H // h, w, W // w).sum((2, 4))


def occlusion(answer: Answer, x_BCHW: Tensor, asked: dict[str, Any], grid: tuple[int, int]) -> Tensor:
    """Return by how much the logit falls when each token is set to zero (B, h, w) (arXiv 1311.2901)."""
    from captum.attr import Occlusion

    (_, C, H, W), (h, w) = x_BCHW.shape, grid
    window = (C, H // h, W // w)
    with torch.no_grad():
        fall_BCHW: Tensor = Occlusion(answer).attribute(
            x_BCHW, sliding_window_shapes=window, strides=window, perturbations_per_eval=AT_ONCE, **asked
        )
    return fall_BCHW[:, 0, :: H // h, :: W // w]


#: By the name that ``explain.maps`` uses.
MAKERS: dict[str, Maker] = {"gradcam": gradcam, "integrated_gradients": integrated_gradients, "occlusion": occlusion}


def attribution(
    kind: str, module: nn.Module, batches: Triples, named_N: npt.NDArray[np.int64], grid: tuple[int, int], *,
    device: str = "cpu",
) -> Floats:  # fmt: skip
    """Return the map (N, h, w) of one kind, sign and scale as the method gives them.

    Args:
        kind: a name in ``MAKERS``.
        module: a model whose logits are a function of the batch alone (``look`` is not passed on).
        batches: of the examples, in order.
        named_N: the class whose logit is explained, of each example.
        grid: height and width in tokens; on pixels it divides the picture's.
        device: ``cpu`` or ``cuda``.

    Raises:
        FieldmarkError: a map is not finite: the model has no gradient there.
    """
    answer, maps, start = Answer(module).to(device).eval(), [], 0
    for batch, labels_B, _ in batches:
        there, stop = move(batch, device), start + len(labels_B)
        target_B = torch.from_numpy(named_N[start:stop]).to(device)
        asked = {"target": target_B, "additional_forward_args": (there.object_Bhw, there.key_B)}
        maps.append(MAKERS[kind](answer, there.x_BCHW.detach().clone(), asked, grid).detach().cpu())
        start = stop
    found_Nhw = torch.cat(maps).double().numpy()
    if broken := int((~np.isfinite(found_Nhw)).any((1, 2)).sum()):
        raise FieldmarkError(
            f"{kind} gave {broken} of {len(found_Nhw)} maps that are not finite: take it out of explain.maps, or use"
            " occlusion, which needs no gradient."
        )
    return found_Nhw
