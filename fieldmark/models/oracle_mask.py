"""Control: the true mask on the pixels, before the backbone. The upper bound for any mask."""

from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.layers.pooling import TokenClassifier, everything, true_mask

TRAINS_ON = "features"
VIEW = "masked"
TRAIN_PART = "train"
DEPLOYABLE = False


def build(backbone: Backbone, num_classes: int) -> nn.Module:
    """Return the plain network, to be shown images whose background is black."""
    return OracleMask(backbone.channels, num_classes)


class OracleMask(TokenClassifier):
    """Pools every token, for the pixels were masked already, and says it looked at the object."""

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features of masked images; a forced mask weights the tokens."""
        if forced_Bhw is not None:
            return Output(self.classify(batch.x_BCHW, forced_Bhw), forced_Bhw, {})
        return Output(self.classify(batch.x_BCHW, everything(batch)), true_mask(batch), {})
