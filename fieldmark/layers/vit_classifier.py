"""A vision transformer that answers from visible patches alone."""

from typing import NamedTuple

from torch import Tensor, nn

from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.division import nonzero
from fieldmark.layers.vit import Vit


class Answer(NamedTuple):
    """What a classifier says, and what it says it from."""

    logits_BK: Tensor
    token_BND: Tensor  # the last patch tokens, not normalised; where pruned, those that were computed


class VitClassifier(nn.Module):
    """Normalise and classify the class token; with ``late``, the mean of visible patches that have seen everything."""

    def __init__(self, vit: Vit, num_classes: int, *, late: bool = False, prune: bool = False) -> None:
        super().__init__()
        self.vit, self.late, self.prune = vit, late, prune
        self.vit.norm.reset_parameters()  # it has to fit the new classifier
        self.linear = nn.Linear(vit.dim, num_classes, bias=False)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)

    def forward(self, x_BCHW: Tensor, mask_Bhw: Tensor | None = None) -> Answer:
        """Classify normalised pixels, from all patches or as the mask weighs them.

        Raises:
            FieldmarkError: the mask has another grid than the patches.
        """
        patch_BDhw = self.vit.embed(x_BCHW)
        patch_BND = patch_BDhw.flatten(2).mT
        if mask_Bhw is None:
            prefix_BQD, token_BND = self.vit.encode(patch_BND)
            return self._answer(token_BND.mean(1) if self.late else prefix_BQD[:, 0], token_BND)
        if mask_Bhw.shape[1:] != patch_BDhw.shape[2:]:
            found, expected = (tuple(grid) for grid in (mask_Bhw.shape[1:], patch_BDhw.shape[2:]))
            raise FieldmarkError(f"the mask has {found} tokens, the picture {expected} patches: make them agree.")
        weight_BN = mask_Bhw.flatten(1)
        if self.late:
            _, token_BND = self.vit.encode(patch_BND)
            return self._answer(weighted_mean(token_BND, weight_BN), token_BND)
        if self.prune and not self.training:
            kept_Bn = foremost(weight_BN)
            patch_BND, weight_BN = patch_BND.take_along_dim(kept_Bn[..., None], 1), weight_BN.gather(1, kept_Bn)
        prefix_BQD, token_BND = self.vit.encode(patch_BND, weight_BN)
        return self._answer(prefix_BQD[:, 0], token_BND)

    def _answer(self, seen_BD: Tensor, token_BND: Tensor) -> Answer:
        return Answer(self.linear(self.vit.norm(seen_BD)), token_BND)


def foremost(weight_BN: Tensor) -> Tensor:
    """Return the indices (B, n) of as many patches as the example with the most visible ones has, these first.

    How many there are must be known outside the device: a GPU is waited for, so this is no step of training.

    >>> import torch
    >>> foremost(torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])).tolist()
    [[1, 0], [0, 2]]
    """
    visible_BN = weight_BN > 0
    most = int(visible_BN.sum(1).max())
    return visible_BN.byte().argsort(dim=1, descending=True, stable=True)[:, :most]


def weighted_mean(token_BND: Tensor, weight_BN: Tensor) -> Tensor:
    """Return the mean (B, D) of tokens by weight; zeros where all weights are 0.

    >>> import torch
    >>> weighted_mean(torch.tensor([[[2.0], [4.0]]]), torch.tensor([[0.0, 0.5]])).item()
    4.0
    """
    weight_BN1 = weight_BN[..., None].to(token_BND.dtype)
    return (weight_BN1 * token_BND).sum(1) / nonzero(weight_BN1.sum(1))
