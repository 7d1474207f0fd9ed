"""Whether the data test what they should: only then do the other claims mean anything."""

from fieldmark.report._claim import Claim

CLAIMS = (
    Claim(
        "B1",
        "The benchmark is valid: training without the shortcut raises worst-group accuracy by at least 10 points.",
        "ours",
        plus=("erm_unbiased", "worst_group"),
        minus=("erm", "worst_group"),
        threshold=0.10,
        about="benchmark",
    ),
    Claim(
        "B2",
        "It is the background that misleads: the plain network is at least 8 points better where the background is"
        " the usual one.",
        "ours",
        plus=("erm", "alignment_gap"),
        threshold=0.08,
        about="benchmark",
    ),
    Claim(
        "B3",
        "An object without its background is enough: the true mask raises worst-group accuracy.",
        "ours",
        plus=("oracle_mask", "worst_group"),
        minus=("erm", "worst_group"),
        about="benchmark",
    ),
    Claim(
        "B4",
        "It takes the object: the true mask beats a random one of the same area in the worst group.",
        "ours",
        plus=("oracle_mask", "worst_group"),
        minus=("random_mask", "worst_group"),
        about="benchmark",
    ),
    Claim(
        "B5",
        "It misleads who learns to see from these pictures too: backgrounds that say nothing raise the plain"
        " transformer's worst-group accuracy by at least 10 points.",
        "ours",
        plus=("vit_unbiased", "worst_group"),
        minus=("vit", "worst_group"),
        threshold=0.10,
        about="benchmark",
    ),
)
