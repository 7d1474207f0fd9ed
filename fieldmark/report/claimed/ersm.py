"""Energy-regularised spatial masking (arXiv 2604.06893), and what its energy is worth."""

from fieldmark.report._claim import Claim

PAPER = "arXiv 2604.06893"

CLAIMS = (
    Claim(
        "E1",
        "ERSM's energy ranks tokens better than their magnitude does, in deletion.",
        PAPER,
        plus=("ersm", "deletion_own"),
        minus=("ersm", "deletion_magnitude"),
    ),
    Claim(
        "E1 cam",
        "ERSM's energy ranks tokens better than the evidence of the same classifier does, in deletion.",
        PAPER,
        plus=("ersm", "deletion_own"),
        minus=("ersm", "deletion_cam"),
    ),
    Claim(
        "E1 weighted",
        "The same holds with kept tokens at the weight they were trained with.",
        "ours",
        plus=("ersm", "deletion_weighted_own"),
        minus=("ersm", "deletion_weighted_magnitude"),
    ),
    Claim(
        "E2",
        "The energy causes the sparsity: without it the mask keeps at least 1 % more.",
        PAPER,
        plus=("ersm_no_energy", "mask_area"),
        minus=("ersm", "mask_area"),
        threshold=0.01,
    ),
    Claim(
        "E3",
        "ERSM preserves accuracy: it loses at most 1 point on average.",
        PAPER,
        plus=("ersm", "average"),
        minus=("erm", "average"),
        threshold=-0.01,
    ),
    Claim(
        "E4",
        "ERSM leans less on the background: it is better where the background is another class's.",
        PAPER,
        plus=("ersm", "acc_mixed_next"),
        minus=("erm", "acc_mixed_next"),
    ),
    Claim(
        "E4 worst",
        "ERSM raises worst-group accuracy over the plain network.",
        "ours",
        plus=("ersm", "worst_group"),
        minus=("erm", "worst_group"),
    ),
    Claim(
        "E4 control",
        "What ERSM gains is not mere regularisation: it beats a random mask of the object's area in the worst group.",
        "ours",
        plus=("ersm", "worst_group"),
        minus=("random_mask", "worst_group"),
    ),
    Claim(
        "E4 energy",
        "The energy helps: ERSM beats the same gate without its energy in the worst group.",
        "ours",
        plus=("ersm", "worst_group"),
        minus=("ersm_no_energy", "worst_group"),
    ),
    Claim(
        "E5",
        "ERSM's masks isolate the object: they rank its tokens higher than a random mask does.",
        PAPER,
        plus=("ersm", "token_auc"),
        minus=("random_mask", "token_auc"),
    ),
    Claim(
        "E5 norm",
        "ERSM's masks rank the object's tokens higher than the features' magnitude does.",
        "ours",
        plus=("ersm", "token_auc"),
        minus=("token_norm", "token_auc"),
    ),
    Claim(
        "E5 cam",
        "ERSM's masks rank the object's tokens higher than the evidence of a plain classifier does.",
        "ours",
        plus=("ersm", "token_auc"),
        minus=("cam", "token_auc"),
    ),
    Claim(
        "E6",
        "The pairwise energy makes masks coherent: without it neighbours differ by at least a hundredth more.",
        PAPER,
        plus=("ersm_no_pair", "neighbour_difference_relative"),
        minus=("ersm", "neighbour_difference_relative"),
        threshold=0.01,
    ),
    Claim(
        "E6 coupled",
        "A price on unequal neighbours makes masks coherent: without it neighbours differ by at least a hundredth"
        " more.",
        "ours",
        plus=("ersm_no_pair", "neighbour_difference_relative"),
        minus=("ersm_mask_tv", "neighbour_difference_relative"),
        threshold=0.01,
    ),
    Claim(
        "E7",
        "The border bias of the pairwise energy is harmless: empty corners weigh at most 2 points more than the"
        " empty interior, even with a pairwise energy 300 times the released one.",
        "ours",
        plus=("ersm_strong_pair", "border_bias"),
        threshold=0.02,
        at_most=True,
    ),
    Claim(
        "E7 normalised",
        "A price per neighbour removes the border bias: it is smaller than with the released price, both strong.",
        "ours",
        plus=("ersm_strong_pair", "border_bias"),
        minus=("ersm_strong_pair_norm", "border_bias"),
    ),
    Claim(
        "E8",
        "ERSM is robust to occlusion beside the object: it is better than the plain network there.",
        PAPER,
        plus=("ersm", "acc_off_object:0.25"),
        minus=("erm", "acc_off_object:0.25"),
    ),
    Claim(
        "E8 object",
        "ERSM is robust to occlusion of the object: it is better than the plain network there.",
        PAPER,
        plus=("ersm", "acc_on_object:0.25"),
        minus=("erm", "acc_on_object:0.25"),
    ),
    Claim(
        "E9",
        "Each picture finds its own density: masks are larger where the object is (rank correlation).",
        PAPER,
        plus=("ersm", "area_correlation"),
    ),
)
