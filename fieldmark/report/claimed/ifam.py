"""Two-stage vision transformers with hard masks (iFAM, arXiv 2506.08915)."""

from fieldmark.report._claim import Claim, Side

PAPER = "arXiv 2506.08915"

_IFAM: Side = ("ifam", "worst_group")

CLAIMS = (
    Claim(
        "I1",
        "Two stages beat one: iFAM beats the plain transformer in the worst group.",
        PAPER,
        plus=_IFAM,
        minus=("vit", "worst_group"),
    ),
    Claim(
        "I2",
        "It is not the compute: iFAM beats a plain transformer of twice the depth in the worst group.",
        "ours",
        plus=_IFAM,
        minus=("vit_deep", "worst_group"),
    ),
    Claim("I3", "Hard masks beat soft ones in the worst group.", PAPER, plus=_IFAM, minus=("ifam_soft", "worst_group")),
    Claim(
        "I4",
        "Masking every block beats masking only what is pooled, in the worst group.",
        "arXiv 2308.12127",
        plus=_IFAM,
        minus=("ifam_late", "worst_group"),
    ),
    Claim(
        "I5",
        "Training both stages jointly beats one after the other, in the worst group.",
        PAPER,
        plus=_IFAM,
        minus=("ifam_sequential", "worst_group"),
    ),
    Claim(
        "I6",
        "The background matters less: a plain transformer loses more where it is exchanged (BG-Gap).",
        PAPER,
        plus=("vit", "bg_gap"),
        minus=("ifam", "bg_gap"),
    ),
    Claim(
        "I7",
        "Parts land on the object: the mask holds more of it than one that weighs all alike.",
        PAPER,
        plus=("ifam", "energy_pointing"),
        minus=("vit", "energy_pointing"),
    ),
    Claim(
        "I8",
        "Parts can be taken away: without the one that is missed most, at most 10 points are lost on average.",
        PAPER,
        plus=("ifam", "part_removal_worst"),
        minus=("ifam", "average"),
        threshold=-0.10,
    ),
    Claim(
        "I9",
        "The mask is never empty: at most 1 % of pictures show the second stage nothing.",
        "ours",
        plus=("ifam", "empty_mask_share"),
        threshold=0.01,
        at_most=True,
    ),
    Claim(
        "I10",
        "The second stage's loss must reach the first: joint training beats training both at once, each by its own.",
        PAPER,
        plus=_IFAM,
        minus=("ifam_detached", "worst_group"),
    ),
    Claim(
        "I11",
        "Several parts beat one in the worst group.",
        "ours",
        plus=_IFAM,
        minus=("ifam_one_part", "worst_group"),
    ),
)
