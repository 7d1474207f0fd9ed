"""The plain network, and the evidence map it hides: class activation mapping (CAM, arXiv 1512.04150).

The logits are those of ``erm``, bit for bit. The mask is read off afterwards: each token's evidence for the predicted
class, its positive part as a fraction of the largest. So it is no weight but a share of the decision: the mean of the
evidence over tokens *is* the logit, less the bias.
"""

import torch
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.layers.evidence import class_evidence, relative
from fieldmark.layers.pooling import TokenClassifier, everything

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int, *, centred: bool = False) -> nn.Module:
    """Return global average pooling and a linear classifier that shows its evidence.

    Args:
        backbone: where the features come from.
        num_classes: K.
        centred: take the evidence against the mean of all classes (ours). What all classes share decides nothing, yet
            stands in the paper's map.
    """
    return Cam(backbone.channels, num_classes, centred)


class Cam(TokenClassifier):
    """Pools every token; shows which spoke for the class that won."""

    mask_is_rule = False  # the classifier's weights make it

    def __init__(self, channels: int, num_classes: int, centred: bool) -> None:
        super().__init__(channels, num_classes)
        self.centred = centred

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; a forced mask weights the tokens."""
        if forced_Bhw is not None:
            return Output(self.classify(batch.x_BCHW, forced_Bhw), forced_Bhw, {})
        logits_BK = self.classify(batch.x_BCHW, everything(batch))
        return Output(logits_BK, self.read(batch.x_BCHW, logits_BK), {})

    @torch.no_grad()
    def read(self, x_BCHW: Tensor, logits_BK: Tensor) -> Tensor:
        """Return the predicted class's evidence (B, h, w) in [0, 1]; 0 everywhere if no token spoke for it."""
        weight_KC = self.linear.weight
        if self.centred:
            weight_KC = weight_KC - weight_KC.mean(0)
        return relative(class_evidence(x_BCHW, weight_KC, logits_BK.argmax(1)))
