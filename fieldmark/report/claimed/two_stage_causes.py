"""Ours: a model that looks again, nearer, at where a first one looked. To what does it owe what it gains?"""

from fieldmark.report._claim import Claim, Side

_PLAIN: Side = ("erm", "worst_group")
_TRUTH: Side = ("oracle_mask", "worst_group")
_ZOOM: Side = ("zoom", "worst_group")
_SEES: Side = ("zoom_saliency", "worst_group")
_MASKED: Side = ("zoom_masked", "worst_group")
_LARGE: Side = ("zoom_masked_224", "worst_group")
_ZOOMS = ("zoom", "zoom_norm", "zoom_cam", "zoom_amt")

CLAIMS = (
    Claim(
        "Z2",
        "The first look must be learned: ERSM's zoom beats the zoom around the strongest features.",
        "ours",
        plus=_ZOOM,
        minus=("zoom_norm", "worst_group"),
    ),
    Claim(
        "Z3",
        "It is not the compute: ERSM's zoom beats the plain network on a larger picture, at the cost of two passes.",
        "ours",
        plus=_ZOOM,
        minus=("erm_224", "worst_group"),
    ),
    Claim(
        "Z4",
        "It is not longer training: ERSM's zoom beats the plain network trained twice as long.",
        "ours",
        plus=_ZOOM,
        minus=("erm_continued", "worst_group"),
    ),
    Claim(
        "Z5",
        "It matters where one looks: the zoom at the frame's centre closes less than half of the gap.",
        "ours",
        plus=("zoom_centre", "worst_group"),
        minus=_PLAIN,
        full=_TRUTH,
        threshold=0.5,
        at_most=True,
    ),
    Claim(
        "Z6",
        "A zoom at a random place gains nothing over the plain network (at most 2 points).",
        "ours",
        plus=("zoom_random", "worst_group"),
        minus=_PLAIN,
        threshold=0.02,
        at_most=True,
    ),
    Claim(
        "Z7",
        "ERSM's zoom beats the zoom at the frame's centre.",
        "ours",
        plus=_ZOOM,
        minus=("zoom_centre", "worst_group"),
    ),
    Claim(
        "Z8",
        "The energy is not what aims: without it the gate's zoom loses at most 2 points.",
        "ours",
        plus=("zoom_gate", "worst_group"),
        minus=_ZOOM,
        threshold=-0.02,
    ),
    Claim(
        "Z9",
        "ERSM's zoom beats the zoom around the evidence of the plain classifier (CAM).",
        "ours",
        plus=_ZOOM,
        minus=("zoom_cam", "worst_group"),
    ),
    Claim(
        "Z10",
        "Looking twice beats masking once: ERSM's zoom beats ERSM in the worst group.",
        "ours",
        plus=_ZOOM,
        minus=("ersm", "worst_group"),
    ),
    Claim(
        "Z12",
        "No label is needed: the best zoom loses at most 2 points in the worst group to DFR, which reads group labels.",
        "ours",
        plus=(_ZOOMS, "worst_group"),
        minus=("dfr_val", "worst_group"),
        threshold=-0.02,
    ),
    Claim(
        "Z15",
        "It is not the compute there either: that zoom beats the plain network on a picture as dear as its two looks.",
        "ours",
        plus=("zoom_norm_224", "worst_group"),
        minus=("erm_320", "worst_group"),
    ),
    Claim(
        "Z16",
        "Crops, not holes: the zoom beats painting over what the same mask leaves out.",
        "ours",
        plus=("zoom_norm", "worst_group"),
        minus=("hide_norm", "worst_group"),
    ),
    Claim(
        "Z18",
        "Such a head aims better than the strongest features, which need none: its zoom beats theirs.",
        "ours",
        plus=_SEES,
        minus=("zoom_norm", "worst_group"),
    ),
    Claim(
        "Z19",
        "It must be a second look: the same head's zoom beats weighting the tokens of the first look by what it sees.",
        "ours",
        plus=_SEES,
        minus=("saliency", "worst_group"),
    ),
    Claim(
        "Z20",
        "Such a head finds the object better than ERSM does, which learns where to look from labels alone.",
        "ours",
        plus=("saliency", "token_auc"),
        minus=("ersm", "token_auc"),
    ),
    Claim(
        "Z22",
        "A mask on the second look gains something: with ERSM there too the zoom beats averaging the crop.",
        "ours",
        plus=_MASKED,
        minus=_ZOOM,
    ),
    Claim(
        "Z23",
        "What is learned pays: ERSM's aim and ERSM's second mask beat the zoom around the strongest features.",
        "ours",
        plus=_MASKED,
        minus=("zoom_norm", "worst_group"),
    ),
    Claim(
        "Z24",
        "It is not the compute: mask and zoom together beat the plain network on a larger picture.",
        "ours",
        plus=_MASKED,
        minus=("erm_224", "worst_group"),
    ),
    Claim(
        "Z26",
        "What is learned pays on 224 px too: mask and zoom together beat the zoom around the strongest features there.",
        "ours",
        plus=_LARGE,
        minus=("zoom_norm_224", "worst_group"),
    ),
    Claim(
        "Z27",
        "It is not the compute there either: they beat the plain network on a picture as dear as two looks at 224 px.",
        "ours",
        plus=_LARGE,
        minus=("erm_320", "worst_group"),
    ),
)
