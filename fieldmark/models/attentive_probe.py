"""Attentive probe: the plain network with a learned question to the tokens in place of the mean (arXiv 2401.08541)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.division import nonzero

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int, *, heads: int = 2) -> nn.Module:
    """Return cross-attention pooling by one learned query, and a linear classifier.

    With a single query, the projections of query and key are one vector a head, which is what is learnt here; a head's
    values are its share of the channels as they are, without a projection (as in arXiv 2506.10178). The query starts
    at zero, where every token counts the same: training starts from ``erm``.

    Args:
        backbone: where the features come from.
        num_classes: K.
        heads: how many attention maps share the channels.

    Raises:
        FieldmarkError: the heads can't share the channels evenly.
    """
    if backbone.channels % heads:
        raise FieldmarkError(f"{heads} heads can't share {backbone.channels} channels evenly: change heads.")
    return AttentiveProbe(backbone.channels, num_classes, heads)


class AttentiveProbe(nn.Module):
    """Attention over tokens, one map a head; the mask is the heads' mean, divided by its maximum."""

    def __init__(self, channels: int, num_classes: int, heads: int) -> None:
        super().__init__()
        self.query_HC = nn.Parameter(torch.zeros(heads, channels))
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; a forced mask limits the attention to what it keeps (all of it: nothing changes)."""
        x_BCN = batch.x_BCHW.flatten(2)
        examples, channels, tokens = x_BCN.shape
        scores_BHN = self.query_HC @ F.layer_norm(x_BCN.mT, (channels,)).mT / channels**0.5
        keep_BN = x_BCN.new_ones(examples, tokens) if forced_Bhw is None else forced_Bhw.flatten(1)
        attention_BHN = attend(scores_BHN, keep_BN)
        values_BHcN = x_BCN.reshape(examples, len(self.query_HC), -1, tokens)
        pooled_BC = (values_BHcN @ attention_BHN.to(x_BCN.dtype).unsqueeze(3)).flatten(1)
        weight_BN = attention_BHN.mean(1)
        own_Bhw = (weight_BN / weight_BN.amax(1, keepdim=True)).view_as(batch.x_BCHW[:, 0])
        return Output(self.linear(pooled_BC), own_Bhw if forced_Bhw is None else forced_Bhw, {})


def attend(scores_BHN: Tensor, keep_BN: Tensor) -> Tensor:
    """Return softmax over tokens, each weighted by ``keep``, in single precision; zeros if none is kept.

    >>> attend(torch.tensor([[[0.0, 0.0, 9.0]]]), torch.tensor([[1.0, 1.0, 0.0]])).tolist()
    [[[0.5, 0.5, 0.0]]]
    """
    keep_B1N = keep_BN.float().unsqueeze(1)
    least = torch.finfo(torch.float32).min
    scores_BHN = scores_BHN.float().masked_fill(keep_B1N == 0, least)  # what is hidden must not set the scale either
    raised_BHN = (scores_BHN - scores_BHN.amax(2, keepdim=True)).exp() * keep_B1N
    return raised_BHN / nonzero(raised_BHN.sum(2, keepdim=True))
