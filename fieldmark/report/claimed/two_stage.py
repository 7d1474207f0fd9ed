"""Ours: a model that looks again, nearer, at where a first one looked. How much of the gap does it close?

The gap is that in worst-group accuracy between the plain network and the true mask on the pixels. Its share has two
intervals: of other objects too (Z1), and of other splits of these objects (Z1 here), which was added once the first had
been seen to miss its floor.
"""

from fieldmark.report._claim import Claim, Side

PLAIN: Side = ("erm", "worst_group")
TRUTH: Side = ("oracle_mask", "worst_group")
ZOOM: Side = ("zoom", "worst_group")
SEES: Side = ("zoom_saliency", "worst_group")
MASKED: Side = ("zoom_masked", "worst_group")
LARGE: Side = ("zoom_masked_224", "worst_group")
ZOOMS = ("zoom", "zoom_norm", "zoom_cam", "zoom_amt")


def _closes(name: str, claim: str, plus: Side, *, here: bool = False) -> Claim:
    """Return the claim that a model closes the whole gap."""
    return Claim(name, claim, "ours", plus=plus, minus=PLAIN, full=TRUTH, threshold=1.0, floor=0.85, here=here)


CLAIMS = (
    _closes(
        "Z1", "Looking again where ERSM looked closes the whole gap between the plain network and the true mask.", ZOOM
    ),
    _closes(
        "Z1 here",
        "Whatever the split of these objects, looking again where ERSM looked closes the whole gap.",
        ZOOM,
        here=True,
    ),
    _closes(
        "Z11",
        "The simple way is enough: the zoom around the strongest features, without any training of the first stage,"
        " closes the whole gap.",
        ("zoom_norm", "worst_group"),
    ),
    _closes(
        "Z11 here",
        "Whatever the split of these objects, the zoom around the strongest features closes the whole gap.",
        ("zoom_norm", "worst_group"),
        here=True,
    ),
    _closes("Z13", "Whatever is best on validation among the zooms closes the whole gap.", (ZOOMS, "worst_group")),
    _closes(
        "Z14",
        "More detail helps: the zoom around the strongest features, on pictures of 224 px, closes the whole gap.",
        ("zoom_norm_224", "worst_group"),
    ),
    _closes(
        "Z14 here",
        "Whatever the split of these objects, that zoom on pictures of 224 px closes the whole gap.",
        ("zoom_norm_224", "worst_group"),
        here=True,
    ),
    _closes("Z17", "A head that learned elsewhere to find objects can aim: its zoom closes the whole gap.", SEES),
    _closes(
        "Z21",
        "Mask and zoom together: where ERSM aims and weighs the second look too, the whole gap is closed.",
        MASKED,
    ),
    _closes(
        "Z21 here",
        "Whatever the split of these objects, mask and zoom together close the whole gap.",
        MASKED,
        here=True,
    ),
    _closes("Z25", "More pixels as well: mask and zoom together, on pictures of 224 px, close the whole gap.", LARGE),
    _closes(
        "Z25 here",
        "Whatever the split of these objects, mask and zoom together on 224 px close the whole gap.",
        LARGE,
        here=True,
    ),
)
