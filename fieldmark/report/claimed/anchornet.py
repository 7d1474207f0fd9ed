"""Patches found by a network without padding, and early exit (AnchorNet, arXiv 2206.03367)."""

from fieldmark.report._claim import Claim

PAPER = "arXiv 2206.03367"

CLAIMS = (
    Claim(
        "A1",
        "A location maps exactly to a patch: its features don't change with what lies outside (network as released).",
        PAPER,
        plus=("anchornet", "anchor_outside_change"),
        threshold=0.001,
        at_most=True,
    ),
    Claim(
        "A1 exact",
        "A location maps exactly to a patch where no block looks at the whole map (no squeeze-excitation).",
        PAPER,
        plus=("anchornet_no_se", "anchor_outside_change"),
        threshold=0.001,
        at_most=True,
    ),
    *(
        Claim(
            f"A2 {rival}",
            f"Patches hold the class's evidence: the best one is classified better than {what}.",
            PAPER,
            plus=("anchor_exit", "patch_accuracy_top"),
            minus=("anchor_exit", f"patch_accuracy_{rival}"),
        )
        for rival, what in {
            "random": "one at a random place",
            "centre": "the one in the middle",
            "norm": "the one with the strongest features",
        }.items()
    ),
    Claim(
        "A3",
        "Patches find the object, not its background: the best one holds more of it than others of its size do.",
        PAPER,
        plus=("anchornet", "anchor_box_gain"),
    ),
    Claim(
        "A4",
        "A patch's evidence says what it contributes: it correlates with the fall of the logit without the patch, by"
        " at least 0.5.",
        PAPER,
        plus=("anchornet", "anchor_evidence_correlation"),
        threshold=0.5,
    ),
    Claim(
        "A4 exact",
        "The correlation is higher where a location sees its patch alone (no squeeze-excitation).",
        "ours",
        plus=("anchornet_no_se", "anchor_evidence_correlation"),
        minus=("anchornet", "anchor_evidence_correlation"),
    ),
    Claim(
        "A5",
        "Looking at patches pays: it beats the same network on a larger picture (costs in the leaderboard).",
        PAPER,
        plus=("anchor_exit", "average"),
        minus=("anchornet_96", "average"),
    ),
    Claim(
        "A6",
        "Leaving early beats looking at every patch always.",
        PAPER,
        plus=("anchor_exit", "early_over_all"),
    ),
    Claim(
        "A7",
        "Summing logits is a good way to combine looks: at most 1 point behind averaging calibrated probabilities.",
        PAPER,
        plus=("anchor_exit", "combiner_accuracy_sum"),
        minus=("anchor_exit", "combiner_accuracy_probability"),
        threshold=-0.01,
    ),
    Claim(
        "A7 calibrated",
        "After calibration the sum of logits is the better probability: its cross-entropy is lower.",
        PAPER,
        plus=("anchor_exit", "combiner_nll_probability"),
        minus=("anchor_exit", "combiner_nll_calibrated"),
    ),
    Claim(
        "A8",
        "Class evidence ranks tokens better than their magnitude does, in deletion (on frozen features).",
        PAPER,
        plus=("erm", "deletion_cam"),
        minus=("erm", "deletion_magnitude"),
    ),
)
