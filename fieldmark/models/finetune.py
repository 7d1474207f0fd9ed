"""A backbone that learns too, under the plain network or under any model on features.

``head: ersm`` is ERSM with a trainable backbone. Its authors' "frozen" backbone (arXiv 2604.06893, released code) keeps
its weights but runs in training mode: ``head: ersm, lr_factor: 0, freeze_bn: false``.
"""

from copy import deepcopy
from typing import Any, Self

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fieldmark.core import plugins
from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.evidence import magnitude
from fieldmark.layers.pooling import TokenClassifier
from fieldmark.models._within import in_one_go, refuse_options

TRAINS_ON = "pixels"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    head: str | None = None,
    head_options: dict[str, Any] | None = None,
    freeze_bn: bool = True,
    lr_factor: float = 0.1,
) -> nn.Module:
    """Return a copy of the backbone and a head that classifies its features.

    Args:
        backbone: where the weights start.
        num_classes: K.
        head: a deployable model on features, by file name; none: average pooling and a linear classifier.
        head_options: of the head.
        freeze_bn: keep batch normalisation at its pretrained statistics, so that an answer never depends on its batch.
            False is ERSM's released behaviour.
        lr_factor: learning rate of the backbone, as a fraction of the head's; 0 keeps its weights.

    Raises:
        FieldmarkError: no such head, one that is no deployable model on features or is trained in several phases, or an
            option it does not know.
    """
    return Finetune(backbone, _head(backbone, num_classes, head, head_options or {}), freeze_bn, lr_factor)


def _head(backbone: Backbone, num_classes: int, name: str | None, options: dict[str, Any]) -> nn.Module:
    if name is None:
        refuse_options("finetune", "head", options)
        return TokenClassifier(backbone.channels, num_classes)
    plugin = plugins.find("models", name)
    if plugin.TRAINS_ON != "features" or not plugin.DEPLOYABLE:
        raise FieldmarkError(f"finetune can't train '{name}' as its head: name a deployable model on features.")
    head: nn.Module = plugin.build(backbone, num_classes, **plugins.accepted(plugin.build, options))
    in_one_go(name, head)
    return head


class Finetune(nn.Module):
    """A head on a backbone's pixels; a forced mask weights the last tokens, which have seen their surroundings."""

    def __init__(self, backbone: Backbone, head: nn.Module, freeze_bn: bool, lr_factor: float) -> None:
        super().__init__()
        self.learns = lr_factor > 0
        self.backbone = deepcopy(backbone.module).requires_grad_(self.learns)
        self.head, self.freeze_bn = head, freeze_bn
        self.lr_factors = {"backbone.": lr_factor}  # read by training.fit

    def train(self, mode: bool = True) -> Self:
        """Switch to training, but for frozen batch normalisation, or for all of a backbone that does not learn."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm) or not self.learns:
                    module.eval()
        return self

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify normalised pixels."""
        features = batch._replace(x_BCHW=self.backbone(batch.x_BCHW))
        output: Output = self.head(features, forced_Bhw)
        return output._replace(extras={**output.extras, "norm": magnitude(features.x_BCHW.detach())})
