"""Attention masks per channel and attribute (arXiv 1904.13078), and their intentional transformation (1905.02719).

A temperature on the logits is no rival of a transformation here: it changes no answer, so no accuracy.
"""

from fieldmark.report._claim import Claim, Side

MASKS, EMPHASIS = "arXiv 1904.13078", "arXiv 1905.02719"

_TRANSFORMED = ("amt_pow", "amt_shift", "amt_gain", "amt_top", "amt_imp")
_RESCALED = tuple(f"{word}_rescaled" for word in _TRANSFORMED)
_NEUTRAL: Side = ("amt", "corruption_accuracy")

CLAIMS = (
    Claim(
        "K1",
        "Channels need masks of their own: they beat one mask shared by all, in the worst group.",
        MASKS,
        plus=("amt", "worst_group"),
        minus=("amt_shared", "worst_group"),
    ),
    Claim(
        "K1 places",
        "Masks must differ over places: they beat weights per channel alone, in the worst group.",
        MASKS,
        plus=("amt", "worst_group"),
        minus=("amt_channel", "worst_group"),
    ),
    Claim(
        "K1 attributes",
        "Channels need masks of their own: attributes are recognised better than by one mask for all channels.",
        MASKS,
        plus=("amt_attributes", "attribute_accuracy"),
        minus=("amt_attributes_shared", "attribute_accuracy"),
    ),
    Claim(
        "K1 balanced",
        "The same holds where having a rare attribute counts as much as not having it.",
        MASKS,
        plus=("amt_attributes", "attribute_accuracy_balanced"),
        minus=("amt_attributes_shared", "attribute_accuracy_balanced"),
    ),
    Claim(
        "K1 pointing",
        "Channels need masks of their own: more of their weight lies on the object than of one mask for all channels.",
        MASKS,
        plus=("amt_attributes", "attribute_pointing"),
        minus=("amt_attributes_shared", "attribute_pointing"),
    ),
    Claim(
        "K2",
        "Masks differ by attribute: more than masks of one attribute that start from other weights.",
        MASKS,
        plus=("amt_attributes", "mask_distance_attributes"),
        minus=("amt_attributes", "mask_distance_reseeded"),
    ),
    Claim(
        "K3",
        "Emphasis gives robustness: the transformation that is best on validation beats none, on corrupted pictures.",
        EMPHASIS,
        plus=(_TRANSFORMED, "corruption_accuracy"),
        minus=_NEUTRAL,
    ),
    Claim(
        "K4",
        "It is not mere rescaling: the same holds when the mask keeps its mean.",
        EMPHASIS,
        plus=(_RESCALED, "corruption_accuracy"),
        minus=_NEUTRAL,
    ),
    Claim(
        "K5",
        "It is emphasis of the important features: weights shuffled over channels do worse, on corrupted pictures.",
        EMPHASIS,
        plus=("amt_imp", "corruption_accuracy"),
        minus=("amt_imp_shuffled", "corruption_accuracy"),
    ),
    Claim(
        "K6",
        "Emphasis of important features resists an attack on the features that knows of it.",
        EMPHASIS,
        plus=("amt_imp", "fgsm_4"),
        minus=("amt", "fgsm_4"),
    ),
    Claim(
        "K6 transfer",
        "It is no masking of gradients: it resists the plain mask's attack too, better than the plain mask does.",
        EMPHASIS,
        plus=("amt_imp", "fgsm_transfer_4"),
        minus=("amt", "fgsm_4"),
    ),
    Claim(
        "ABN",
        "Masks per class and channel beat the attention branch network's one mask, in the worst group.",
        MASKS,
        plus=("amt", "worst_group"),
        minus=("abn", "worst_group"),
    ),
)
