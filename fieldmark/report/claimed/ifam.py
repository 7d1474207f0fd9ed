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
        "Parts land on the object: the mask holds more of it than a random mask of the object's area.",
        PAPER,
        plus=("ifam", "energy_pointing"),
        minus=("random_mask", "energy_pointing"),
    ),
)
