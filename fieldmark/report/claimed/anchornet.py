"""Patches found by a network without padding, and early exit (AnchorNet, arXiv 2206.03367)."""

from fieldmark.report._claim import Claim

PAPER = "arXiv 2206.03367"

CLAIMS = (
    Claim(
        "A8",
        "Patch evidence is a good order of deletion: it beats the features' magnitude.",
        PAPER,
        plus=("anchornet", "deletion_own"),
        minus=("anchornet", "deletion_magnitude"),
    ),
)
