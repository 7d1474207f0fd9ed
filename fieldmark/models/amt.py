"""Attention masks of their own for every class and channel, and their intentional transformation (AMT).

What could be read of arXiv 1904.13078 and 1905.02719: every feature has a mask of its own for every attribute, from a
sub-network; masks are then transformed on purpose, so that features which matter are emphasised and the network becomes
more robust. Sub-networks, losses and the families of transformation are ours.
"""

from collections.abc import Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output, Score
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.attention_mask import AttentionHeads, Kind, Seen, each_head
from fieldmark.layers.pooling import masked_pool
from fieldmark.layers.transform import Transform, When
from fieldmark.models import _attention_measures

TRAINS_ON = "features"
VIEW = "plain"
TRAIN_PART = "train"
DEPLOYABLE = True
MEANINGS = _attention_measures.MEANINGS
HIGHER_IS_BETTER = _attention_measures.HIGHER_IS_BETTER


def build(
    backbone: Backbone,
    num_classes: int,
    *,
    mask: Kind = "full",
    hidden: int = 8,
    groups: int = 1,
    start: float = 0.0,
    residual: bool = False,
    beta: float = 0.0,
    auxiliary: bool = False,
    transform: str = "",
    transform_when: When = "test",
    rescale: bool = False,
    rest: float = 0.0,
    importance_shuffled: bool = False,
    num_attributes: int = 0,
    of_object: int = 0,
    twins: bool = False,
) -> nn.Module:
    """Return a sub-network, a mask and a linear answer for each class, and for each attribute.

    Args:
        backbone: where the features come from.
        num_classes: K.
        mask: ``full`` (each channel its own), ``shared`` (one for all channels), ``channel`` (a gate for each channel,
            the same everywhere) or ``lowrank`` (the scores of these two added); all have the same parameters.
        hidden: channels inside a sub-network; on wildstamps 8 do as well on validation as 32, for less.
        groups: of its 3 x 3 convolution.
        start: first bias of the scores: 0 starts masks half open, -4 nearly closed (at 0.02).
        residual: weight features by 1 + mask, not by the mask.
        beta: price of the classes' mean mask.
        auxiliary: also classify by the mean of each class's scores over places, at the same weight.
        transform: ``"<family>:<strength>"``, as in ``layers.transform``; "" changes nothing. What matters for a class
            (``imp``) is read off by the model's own answers in training, not by the labels.
        transform_when: ``test`` (train with the plain mask) or ``always``.
        rescale: give the transformed mask the mean it had.
        rest: what the family ``top`` multiplies all other values by, from 0 to 1.
        importance_shuffled: control of the family ``imp``: the importances at other channels.
        num_attributes: A; heads that say yes or no, learnt from the batches' attributes beside the classes.
        of_object: how many of these, the first ones, are seen on the object.
        twins: learn every attribute twice from other first weights, so that a mask can be compared with its like.

    Raises:
        FieldmarkError: the groups don't divide the channels, or there is no such transformation or ``rest``.
    """

    def heads(count: int) -> AttentionHeads:
        change = None
        if transform:
            change = Transform(
                transform, count, backbone.channels, rest=rest, rescale=rescale, when=transform_when,
                shuffled=importance_shuffled,
            )  # fmt: skip
        return AttentionHeads(
            backbone.channels, count, kind=mask, hidden=hidden, groups=groups, start=start, residual=residual,
            transform=change,
        )  # fmt: skip

    attributes = heads(num_attributes * (1 + twins)) if num_attributes else None
    projection = AttentionProjection(backbone.channels, num_classes) if auxiliary else None
    return Amt(heads(num_classes), attributes, projection, beta=beta, count=num_attributes, of_object=of_object)


class Amt(nn.Module):
    """Classes by softmax over their heads' answers; attributes, where asked for, by yes or no."""

    def __init__(
        self, classes: AttentionHeads, attributes: AttentionHeads | None, projection: "AttentionProjection | None", *,
        beta: float, count: int, of_object: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes, self.attributes, self.projection = classes, attributes, projection
        self.beta, self.count, self.of_object = beta, count, of_object

    def forward(self, batch: Batch, forced_Bhw: Tensor | None = None) -> Output:
        """Classify features; what is shown is the predicted class's mask, averaged over channels.

        A forced mask is the whole weight (with ``residual``, of 1 + mask), in all channels and for all classes.

        Raises:
            FieldmarkError: there are attribute heads to train, and the batch's attributes are not theirs.
        """
        if forced_Bhw is not None:
            return Output(self.classes.linear(masked_pool(batch.x_BCHW, forced_Bhw)), forced_Bhw, {})
        seen = self.classes(batch.x_BCHW)
        extras = self._lessons(batch, seen) if self.training else {}
        return Output(seen.answers_BK, shown(seen), extras)

    def answers(self, x_BCHW: Tensor, *, transformed: bool = True) -> Tensor:
        """Return the logits of features, without transformation if so asked."""
        answers_BK: Tensor = self.classes(x_BCHW, transformed=transformed).answers_BK
        return answers_BK

    def _lessons(self, batch: Batch, seen: Seen) -> dict[str, Tensor]:
        """Return what is minimised beside the objective, and let the transformation learn what matters."""
        self.classes.observe(seen, seen.answers_BK.detach().float().softmax(1))  # the true classes are not told here
        extras: dict[str, Tensor] = {}
        if self.beta:
            extras["energy"] = self.beta * seen.mask_BKChw.mean((1, 2, 3, 4))
        if self.projection is not None:
            extras["auxiliary_logits"] = self.projection(seen.scores_BKChw)
        if self.attributes is not None:
            lost_B = self._attributes_lost(self.attributes, batch)
            extras["energy"] = extras.get("energy", 0.0) + lost_B
        return extras

    def _attributes_lost(self, heads: AttentionHeads, batch: Batch) -> Tensor:
        """Return the sum over attributes of the cross-entropy (B,); unknown ones, NaN, cost nothing."""
        told_BA = batch.attributes_BA
        if told_BA is None or told_BA.shape[1] != self.count:
            found = "none" if told_BA is None else str(told_BA.shape[1])
            raise FieldmarkError(
                f"amt has {self.count} attribute heads and was given {found} attributes to learn: set num_attributes "
                "to the number the data set has, or to 0."
            )
        target_BK = torch.cat([told_BA] * (heads.linear.out_features // self.count), 1)
        seen = heads(batch.x_BCHW)
        heads.observe(seen, target_BK)
        known_BK = ~target_BK.isnan()
        lost_BK = F.binary_cross_entropy_with_logits(
            seen.answers_BK.float(), target_BK.nan_to_num(0.0), reduction="none"
        )
        return (lost_BK * known_BK).sum(1)


class AttentionProjection(nn.Module):
    """Answers (B, K) from the spatial mean of each class's scores; sub-networks learn from them directly."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, classes)

    def forward(self, scores_BKChw: Tensor) -> Tensor:
        """Return the auxiliary logits."""
        return each_head(self.linear, scores_BKChw.mean((3, 4)))


def shown(seen: Seen) -> Tensor:
    """Return the predicted class's mask (B, h, w), averaged over channels, in [0, 1]; rescaled ones are clipped."""
    best_B = seen.answers_BK.argmax(1)
    return seen.weight_BKChw[torch.arange(len(best_B), device=best_B.device), best_B].mean(1).clamp(0, 1)


def measures(module: Amt, batches: Iterable[tuple[Batch, Tensor, Tensor]]) -> dict[str, Score]:
    """Return accuracy under attacks on features, how masks differ, and what attribute heads know."""
    module.eval()
    device, triples = module.classes.linear.weight.device, [*batches]
    plainly = partial(module.answers, transformed=False)
    found = _attention_measures.of_attacks(module.answers, plainly, triples, device)
    found |= _attention_measures.of_distance(module.classes, triples, device)
    if module.attributes is not None:
        found |= _attention_measures.of_attributes(module.attributes, module.count, module.of_object, triples, device)
    return found
