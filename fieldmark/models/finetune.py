"""The plain network with a backbone that learns too."""

from copy import deepcopy
from typing import Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.layers.pooling import TokenClassifier

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(backbone: Backbone, num_classes: int, *, freeze_bn: bool = True, lr_factor: float = 0.1) -> nn.Module:
    """Return a trainable copy of the backbone, average pooling and a linear classifier.

    Args:
        backbone: where the weights start.
        num_classes: K.
        freeze_bn: keep batch normalisation at its pretrained statistics, so that an answer never depends on its batch.
        lr_factor: learning rate of the backbone, as a fraction of the classifier's.
    """
    return Finetune(backbone, num_classes, freeze_bn, lr_factor)


class Finetune(nn.Module):
    """``erm`` on pixels; a forced mask weights the last tokens, which have seen their surroundings."""

    def __init__(self, backbone: Backbone, num_classes: int, freeze_bn: bool, lr_factor: float) -> None:
        super().__init__()
        self.backbone = deepcopy(backbone.module).requires_grad_(True)
        self.classifier = TokenClassifier(backbone.channels, num_classes)
        self.freeze_bn = freeze_bn
        self.lr_factors = {"backbone.": lr_factor}  # read by training.fit

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for frozen batch normalisation."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels."""
        features = batch._replace(x_BCHW=self.backbone(batch.x_BCHW))
        output: Output = self.classifier(features, forced_Bhw)
        return output._replace(extras={"norm": features.x_BCHW.norm(dim=1)})
