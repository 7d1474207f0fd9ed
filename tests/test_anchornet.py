"""AnchorNet: geometry by perturbation, the aggregation identity, greedy choice on hand-made maps; pictures and text."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.anchor import PRESETS, EvidenceNet, Preset, each_alone
from fieldmark.layers.evidence import class_evidence
from fieldmark.layers.macs import cost
from fieldmark.layers.patches import chosen, clash, cover, crop, every_box, onto_tokens, propose
from fieldmark.layers.valid import Geometry, Row
from fieldmark.models import anchornet
from fieldmark.training.fit import initialised

CPU = torch.device("cpu")
TOKEN = 8
BACKBONE = Backbone(nn.Identity(), 6, TOKEN, (0.5,) * 3, (0.5,) * 3, "")
#: Every kind of block: stride, no stride, skip, widened or not. 27 px patches every 4 px.
MIXED = Preset(Row(8, 2, 1), (Row(8, 1, 1), Row(8, 2, 2), Row(12, 1, 1.5), Row(12, 1, 2)), 6, (1, 3, 4))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def evidence_net(dims: int = 2, preset: Preset = MIXED, **options: object) -> EvidenceNet:
    net = initialised(lambda: EvidenceNet(3, preset, dims=dims, **options), 0)  # type: ignore[arg-type]  # test options
    grown_up(net)
    with torch.no_grad():
        net.train()(draw(4, 3, *[41] * dims))
    assert isinstance(net, EvidenceNet)
    return net.eval()


def grown_up(module: nn.Module) -> None:
    """Let classifiers, born with weights near 0, say something, and normalisation take its first batch's statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
            elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = None


# --- geometry


@pytest.mark.parametrize(
    ("name", "side", "field", "stride", "locations"), [("paper", 224, 95, 8, 17), ("small", 64, 31, 4, 9)]
)
def test_geometry_follows_from_the_layers(name: str, side: int, field: int, stride: int, locations: int) -> None:
    (geometry,) = EvidenceNet(2, PRESETS[name]).geometries
    assert geometry == (field, stride) and geometry.locations(side) == locations
    assert every_box(geometry, [side], CPU).max() == (223 if name == "paper" else 63), "the last row is never seen"


def test_several_scales_have_the_papers_fields() -> None:
    assert EvidenceNet(2, PRESETS["paper"], multi_scale=True).geometries == [(31, 8), (63, 8), (95, 8)]
    text = EvidenceNet(2, PRESETS["text"], channels=8, dims=1, multi_scale=True)
    assert text.geometries == [(3, 1), (7, 1), (15, 1)]


@pytest.mark.parametrize("skip_crop", ["br", "center"])
@pytest.mark.parametrize("dims", [1, 2])
def test_without_se_a_change_outside_the_box_leaves_the_feature_bit_equal(dims: int, skip_crop: str) -> None:
    net, x = evidence_net(dims, multi_scale=True, se=False, skip_crop=skip_crop), draw(1, 3, *[41] * dims)
    before = net(x)
    for place in [(0,) * dims, (22,) * dims, (40,) * dims, (5, 30)[:dims]]:
        changed = x.clone()
        changed[0].movedim(0, -1)[place] += 3
        for scale, old, geometry in zip(net(changed), before, net.geometries, strict=True):
            box_Nd2 = every_box(geometry, [41] * dims, CPU)
            here_d = torch.tensor(place)
            inside_N = ((box_Nd2[..., 0] <= here_d) & (here_d < box_Nd2[..., 1])).all(1)
            moved_N = (scale.features_BD__ != old.features_BD__).flatten(2).any(1)[0]
            assert torch.equal(moved_N, inside_N), "a box holds just the pixels that its location depends on"


def test_with_se_a_change_outside_the_box_changes_the_feature() -> None:
    net, x_BCHW = evidence_net(se=True), draw(1, 3, 41, 41)
    changed_BCHW = x_BCHW.clone()
    changed_BCHW[..., 27:, :] = 0  # below the box of the first row
    first_BD, then_BD = (net(one)[-1].features_BD__[..., 0, 0] for one in (x_BCHW, changed_BCHW))
    change = (then_BD - first_BD).norm() / first_BD.norm()
    assert 1e-4 < change < 0.5, "a little: the patch itself is the same"


def test_a_picture_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(FieldmarkError, match="patches of 31, the input has only 30"):
        anchornet.build(BACKBONE, 2)(Batch(draw(1, 3, 30, 64)))


# --- evidence


@pytest.mark.parametrize("dims", [1, 2])
def test_aggregation_identity_the_logit_is_the_mean_evidence_plus_bias(dims: int) -> None:
    net, label_B = evidence_net(dims, multi_scale=True), torch.tensor([2, 0])
    for scale, weight_KD, head in zip(net(draw(2, 3, *[41] * dims)), net.weights, net.heads, strict=True):
        map_B__ = class_evidence(scale.features_BD__, weight_KD, label_B)
        logit_B = scale.logits_BK[torch.arange(2), label_B] - head.linear.bias[label_B]  # type: ignore[union-attr, index]
        torch.testing.assert_close(map_B__.flatten(1).mean(1), logit_B, rtol=1e-5, atol=1e-5)


def test_counts_of_the_paper_60_million_multiply_adds_and_675_thousand_parameters() -> None:
    found = cost(EvidenceNet(1000, PRESETS["paper"]), torch.zeros(1, 3, 224, 224))
    assert round(found.macs / 1e6, 1) == 60.5 and round(found.parameters / 1e6, 3) == 0.675


def test_the_small_layers_are_quick() -> None:
    assert cost(EvidenceNet(2, PRESETS["small"]), torch.zeros(1, 3, 64, 64)).macs < 10e6


def test_each_scale_learns_as_if_alone() -> None:
    logits_BSK, label_B = draw(4, 3, 5).requires_grad_(), torch.tensor([0, 4, 2, 2])
    weight_BS = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mean_BK, energy_B = each_alone(logits_BSK, weight_BS)
    own_BS = F.cross_entropy(logits_BSK.flatten(0, 1), label_B.repeat_interleave(3), reduction="none").view(4, 3)
    wanted = ((own_BS * weight_BS).sum(1) / weight_BS.sum(1)).mean()
    given = F.cross_entropy(mean_BK, label_B) + energy_B.mean()
    torch.testing.assert_close(given, wanted)
    for got, want in zip(*(torch.autograd.grad(loss, logits_BSK) for loss in (given, wanted)), strict=True):
        torch.testing.assert_close(got, want)
    assert energy_B[1].abs() < 1e-6 and energy_B[0] > 0


# --- greedy choice


def greedy(values: list[list[float]], limits: list[float], field: int = 2) -> list[int]:
    map_HW = torch.tensor(values)
    boxes_Nd2 = every_box(Geometry(field, 1), [side + field - 1 for side in map_HW.shape], CPU)
    chosen_k: list[int] = propose(map_HW.flatten()[None], boxes_Nd2, limits)[0].tolist()
    return chosen_k


def test_greedy_takes_the_best_and_skips_what_overlaps_it() -> None:
    values = [[0.0, 9.0, 8.0, 0.0], [0.0, 7.0, 0.0, 0.0], [0.0, 0.0, 0.0, 6.0]]
    assert greedy(values, [0.3, 0.3]) == [1, 11], "2 and 5 share a third of their union with 1"
    assert greedy(values, [0.34, 0.34]) == [1, 2]


def test_location_0_0_is_judged_like_any_other() -> None:
    assert greedy([[9.0, 0.0, 5.0], [0.0, 0.0, 0.0]], [0.3, 0.3]) == [0, 2], "the best, at (0, 0)"
    assert greedy([[8.0, 9.0, 0.0, 5.0], [0.0] * 4], [0.3, 0.3]) == [1, 3], "reached second, (0, 0) overlaps the first"


def test_missing_boxes_are_minus_one() -> None:
    index_Bk = torch.tensor([greedy([[1.0, 2.0]], [0.3] * 3)])
    assert index_Bk.tolist() == [[1, -1, -1]]
    assert (
        chosen(index_Bk, every_box(Geometry(2, 1), [2, 3], CPU))[0].tolist()
        == [[[0, 2], [1, 3]]] + [[[-1, -1]] * 2] * 2
    )


def test_a_looser_limit_for_further_patches_lets_a_skipped_one_back() -> None:
    assert greedy([[9.0, 8.0, 7.0, 6.0]], [0.0, 0.0, 0.4]) == [0, 2, 1]


def test_greedy_is_the_ranked_list_walked_from_the_top() -> None:
    boxes_Nd2, score_BN = every_box(Geometry(7, 2), [25, 31], CPU), draw(6, 130)
    found_Bk = propose(score_BN, boxes_Nd2, [0.2] * 4)
    for index_k, score_N in zip(found_Bk, score_BN, strict=True):
        taken: list[int] = []
        for n in score_N.argsort(descending=True).tolist():
            if all(area_ratio(boxes_Nd2[n], boxes_Nd2[other]) <= 0.2 for other in taken):
                taken.append(n)
        assert index_k.tolist() == taken[:4]


def area_ratio(one_22: Tensor, other_22: Tensor) -> float:
    """Intersection over union, counted pixel by pixel."""
    one, other = (
        {(y, x) for y in range(*box[0]) for x in range(*box[1])} for box in (one_22.tolist(), other_22.tolist())
    )
    return len(one & other) / len(one | other)


def test_boxes_measured_one_pixel_narrower_as_released_decide_the_same() -> None:
    wide, narrow = (every_box(Geometry(field, 8), [field + 128] * 2, CPU) for field in (95, 94))
    assert torch.equal(clash(wide, wide) <= 0.3, clash(narrow, narrow) <= 0.3)


def test_a_small_box_inside_a_taken_one_is_rejected_and_sizes_are_pooled() -> None:
    small, large = (every_box(Geometry(field, 4), [20], CPU) for field in (4, 12))
    boxes_N12 = torch.cat([small, large])  # small ones start at 0, 4, 8, 12, 16; large ones at 0, 4, 8
    score_1N = torch.tensor([[0.0, 8.0, 0.0, 0.0, 7.0, 9.0, 1.0, 2.0]])
    assert propose(score_1N, boxes_N12, [0.4] * 2).tolist() == [[5, 4]], "IoU with the one inside is only a third"


# --- cutting out


def test_patches_are_the_pixels_themselves() -> None:
    x_BCHW, first_Bk2 = draw(2, 3, 9, 11), torch.tensor([[[0, 0], [4, 6]], [[3, 1], [0, 2]]])
    patches_BkCss = crop(x_BCHW, first_Bk2, 5)
    for b, k in itertools.product(range(2), range(2)):
        y, x = first_Bk2[b, k].tolist()
        assert torch.equal(patches_BkCss[b, k], x_BCHW[b, :, y : y + 5, x : x + 5])


def test_patches_of_every_scale_are_made_equally_wide() -> None:
    net, x_BCHW = evidence_net(multi_scale=True), draw(2, 3, 41, 41)
    candidates = net.candidates(x_BCHW)
    small, large = 0, len(candidates.scale_N) - 1
    patches_BkCss = net.cut(x_BCHW, candidates, torch.tensor([[small, large], [large, small]]), 27)
    field, (y, x) = net.geometries[0].field, candidates.boxes_Nd2[large, :, 0].tolist()
    for b, k in ((0, 1), (1, 0)):
        assert torch.equal(patches_BkCss[b, k], x_BCHW[b, :, y : y + 27, x : x + 27])
    for b, k in ((0, 0), (1, 1)):
        resized = F.interpolate(x_BCHW[b : b + 1, :, :field, :field], size=27, mode="bilinear", align_corners=False)
        torch.testing.assert_close(patches_BkCss[b, k], resized[0])


def test_coverage_by_hand() -> None:
    box_Bk22 = torch.tensor([[[[0, 3], [2, 6]], [[-1, -1], [-1, -1]]]])  # 3 rows, 4 columns; then a missing one
    assert torch.equal(cover(box_Bk22, (4, 8), (2, 2))[0, 0], torch.tensor([[0.5, 0.5], [0.25, 0.25]]))
    assert torch.equal(cover(box_Bk22, (4, 6), (2, 2))[0, 0], torch.tensor([[1 / 3, 1.0], [1 / 6, 0.5]]))
    assert cover(box_Bk22, (4, 8), (2, 2))[0, 1].eq(0).all()


def test_a_flat_map_of_locations_is_a_flat_map_of_tokens() -> None:
    flat_Bij = torch.full((2, 4, 10), 7.0)
    found_Bhw = onto_tokens(flat_Bij, Geometry(5, 3), (16, 32), (4, 8))
    torch.testing.assert_close(found_Bhw, torch.full((2, 4, 8), 7.0))


# --- text: the same code along one axis


def test_the_words_that_decide_are_found_in_text() -> None:
    """Sentences of 30 words out of 40; one of two words at any place is the class."""
    rng = np.random.default_rng(0)
    words_BL, label_B = torch.from_numpy(rng.integers(2, 40, (256, 30))), torch.arange(256) % 2
    place_B = torch.from_numpy(rng.integers(0, 30, 256))
    words_BL[torch.arange(256), place_B] = label_B
    embed, net = initialised(lambda: nn.Embedding(40, 16), 0), text_net()
    optimiser = torch.optim.AdamW([*embed.parameters(), *net.parameters()], lr=0.01)
    for rows_B in torch.arange(256).view(4, 64).repeat(12, 1):
        logits_BK, energy_B = net.decide(net(embed(words_BL[rows_B]).mT))
        assert energy_B is not None
        optimiser.zero_grad()
        (F.cross_entropy(logits_BK, label_B[rows_B]) + energy_B.mean()).backward()
        optimiser.step()
    with torch.inference_mode():
        net.eval()
        x_BCL = embed(words_BL).mT
        scales, candidates = net(x_BCL), net.candidates(x_BCL)
        index_Bk = net.localise(scales, candidates, [0.3] * 2)
        windows_BkCw = net.cut(x_BCL, candidates, index_Bk, 15)
    assert (net.decide(scales)[0].argmax(1) == label_B).float().mean() > 0.95
    first_B, past_B = chosen(index_Bk, candidates.boxes_Nd2)[:, 0, 0].unbind(1)
    assert ((first_B <= place_B) & (place_B < past_B)).float().mean() > 0.9, "the best run of words holds the one word"
    longest = (candidates.scale_N[index_Bk] == 2).nonzero().tolist()
    assert longest and windows_BkCw.shape == (256, 2, 16, 15), "what a downstream classifier reads, side by side"
    for b, k in longest:
        first, past = chosen(index_Bk, candidates.boxes_Nd2)[b, k, 0].tolist()
        assert torch.equal(windows_BkCw[b, k], x_BCL[b, :, first:past])


def text_net() -> EvidenceNet:
    net = initialised(lambda: EvidenceNet(2, PRESETS["text"], channels=16, dims=1, multi_scale=True, se=False), seed=0)
    assert isinstance(net, EvidenceNet)
    return net
