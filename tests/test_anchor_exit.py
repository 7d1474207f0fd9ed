"""AnchorNet's early exit: accuracy and cost by hand, the models, and measures that find what was planted."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fieldmark.core.contracts import Backbone, Batch, Output
from fieldmark.core.errors import FieldmarkError
from fieldmark.layers.early_exit import Table, forced, frontier, leave, outcome, step_costs, sweep, tabulate
from fieldmark.layers.macs import cost
from fieldmark.models import _anchor_measures, _combiners, _exit_measures, anchor_exit, anchornet
from fieldmark.models._looks import Patches
from fieldmark.models.anchor_exit import AnchorExit
from fieldmark.training.fit import fit, initialised
from fieldmark.training.phases import phases

TOKEN = 8
BACKBONE = Backbone(nn.Identity(), 6, TOKEN, (0.5,) * 3, (0.5,) * 3, "")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exit_model(**options: object) -> AnchorExit:
    built = initialised(lambda: anchor_exit.build(BACKBONE, 3, **{"layers": "tiny", **options}), 0)  # type: ignore[arg-type]
    assert isinstance(built, AnchorExit)
    grown_up(built)
    with torch.no_grad():
        for _, part in phases(built):
            part.train()(Batch(draw(8, 3, 40, 48)))
    return built.requires_grad_(True).eval()


def grown_up(module: nn.Module) -> None:
    """Let classifiers, born with weights near 0, say something, and normalisation take its first batch's statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for part in module.modules():
            if isinstance(part, nn.Linear):
                part.reset_parameters()
            elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.momentum = None


# --- early exit, by hand

#: Four pictures, three steps: how sure, how right.
TABLE = Table(
    torch.tensor([[0.95, 0.99, 0.99], [0.60, 0.85, 0.95], [0.40, 0.50, 0.70], [0.92, 0.70, 0.99]]),
    torch.tensor([[True, True, True], [False, True, False], [False, False, True], [True, False, False]]),
)
COSTS = step_costs(3, first=10.0, propose=1.0, patch=10.0)


def test_threshold_sweep_reproduces_accuracy_and_cost_by_hand() -> None:
    assert COSTS == [10.0, 21.0, 31.0]
    assert leave(TABLE.confidence_NS, [0.9, 0.8]).tolist() == [0, 1, 2, 0]
    point = outcome(TABLE, [0.9, 0.8], COSTS)
    assert point.accuracy == 1.0, "better than looking at everything always: more looks hurt the last picture"
    assert point.cost == (10 + 21 + 31 + 10) / 4 and point.leaving_S == (0.5, 0.25, 0.25)
    strict, loose = (0.99, 0.99), (0.5, 0.4)
    points = sweep(TABLE, COSTS, [strict, (0.9, 0.8), loose])
    assert [(one.thresholds, one.accuracy, one.cost) for one in points] == [
        (loose, 0.5, (10 + 10 + 21 + 10) / 4),
        ((0.9, 0.8), 1.0, 18.0),
        (strict, 0.5, 31.0),
    ]
    assert [one.thresholds for one in frontier(points)] == [loose, (0.9, 0.8)]


def test_forced_exits_by_hand() -> None:
    assert [(one.accuracy, one.cost) for one in forced(TABLE, COSTS)] == [(0.5, 10.0), (0.5, 21.0), (0.5, 31.0)]
    assert [one.leaving_S for one in forced(TABLE, COSTS)] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_costs_of_the_papers_steps() -> None:
    assert step_costs(6, 0.79, 0.06, 0.79) == pytest.approx([0.79, 1.64, 2.43, 3.22, 4.01, 4.80])


def test_the_table_holds_the_sum_not_the_mean() -> None:
    looks_NSK = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]])
    table = tabulate(looks_NSK.cumsum(1), torch.tensor([0]))
    torch.testing.assert_close(table.confidence_NS, torch.sigmoid(torch.tensor([[1.0, 2.0, 1.0]])))
    assert table.correct_NS.tolist() == [[True, True, False]]


# --- the models


def test_early_exit_does_no_more_than_the_sum_and_says_the_same() -> None:
    module, x_BCHW = exit_model(thresholds=[0.9, 0.95, 0.99]), 2 * draw(24, 3, 40, 48)
    output = module(Batch(x_BCHW))
    logits_BK, steps_B = module.exit_early(x_BCHW)
    assert set(steps_B.tolist()) >= {1, 4}, "some leave at once, some never"
    assert torch.equal(output.extras["steps"], steps_B.float())
    torch.testing.assert_close(logits_BK, output.logits_BK, rtol=1e-4, atol=1e-4)
    looks_BSK, _ = module.each(x_BCHW)
    for logits_K, step, look_SK in zip(output.logits_BK, steps_B, looks_BSK, strict=True):
        torch.testing.assert_close(logits_K, look_SK[:step].sum(0))


def test_the_mask_is_the_share_of_looks_taken_that_showed_a_token() -> None:
    never, at_once = exit_model(thresholds=[1.0, 1.0]), exit_model(thresholds=[0.0, 0.0])
    x_BCHW = draw(2, 3, 40, 48)
    assert at_once(Batch(x_BCHW)).mask_Bhw.eq(1).all(), "the whole picture was seen, and nothing else"
    anchor = never.patches.anchor
    cover_Bkhw = anchor.covered(anchor.find(x_BCHW), x_BCHW)
    torch.testing.assert_close(never(Batch(x_BCHW)).mask_Bhw, (1 + cover_Bkhw.sum(1)) / 3)


def test_a_missing_patch_adds_nothing() -> None:
    module, x_BCHW = exit_model(thresholds=[1.0, 1.0]), draw(2, 3, 20, 20)  # 19 px patches: they all overlap
    looks_BSK, looks = module.each(x_BCHW)
    assert looks.there_Bk.tolist() == [[True, False]] * 2 and looks_BSK[:, 2].eq(0).all()
    torch.testing.assert_close(module.patches(Batch(x_BCHW)).logits_BK, looks_BSK[:, 1].log_softmax(1))
    assert module(Batch(x_BCHW)).mask_Bhw.max() <= 1


def test_patches_learn_each_alone_while_the_anchor_is_fixed() -> None:
    module, batch, label_B = exit_model(), Batch(draw(4, 3, 40, 48)), torch.tensor([0, 1, 2, 0])
    steps = iter(module.phases())
    assert next(steps) == ("anchor", module.patches.anchor) and next(steps) == ("resized", module.resized)
    name, part = next(steps)
    before = {key: value.clone() for key, value in module.patches.anchor.state_dict().items()}
    fit(part, lambda _: [(batch, label_B, label_B)], objective=erm, epochs=2, lr=0.01, weight_decay=0.1)
    assert name == "" and all(
        torch.equal(value, before[key]) for key, value in module.patches.anchor.state_dict().items()
    )
    output = part.eval()(batch)
    loss = F.cross_entropy(output.logits_BK, label_B) + output.extras["energy"].mean()
    looks_BkK = module.patches.look(batch.x_BCHW).logits_BkK
    torch.testing.assert_close(loss, F.cross_entropy(looks_BkK.flatten(0, 1), label_B.repeat_interleave(4)))


class SaysMore(nn.Module):
    """A downstream classifier with a second answer and a cost of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = initialised(lambda: nn.Linear(3, 6), 0)

    def forward(self, batch: Batch) -> Output:
        first_BK, second_BK = self.linear(batch.x_BCHW.mean((2, 3))).chunk(2, 1)
        return Output(first_BK, batch.x_BCHW[:, 0], {"auxiliary_logits": second_BK, "energy": first_BK.square().sum(1)})


def test_all_that_a_downstream_classifier_learns_from_is_learned_from_each_patch() -> None:
    anchor, label_B, x_BCHW = exit_model(thresholds=[0.5] * 3).patches.anchor, torch.tensor([0, 2]), draw(2, 3, 40, 48)
    part = Patches(anchor, SaysMore(), 19)
    output, looks = part(Batch(x_BCHW)), part.look(x_BCHW)
    answers = output.logits_BK, output.extras["auxiliary_logits"]
    given = sum(F.cross_entropy(answer_BK, label_B) for answer_BK in answers) + output.extras["energy"].mean()
    every_B = label_B.repeat_interleave(3)
    own = F.cross_entropy(looks.logits_BkK.flatten(0, 1), every_B) + looks.extras["energy"].mean()
    torch.testing.assert_close(given, own + F.cross_entropy(looks.extras["auxiliary_logits"], every_B))


def erm(logits_BK: Tensor, labels_B: Tensor, groups_B: Tensor) -> Tensor:
    return F.cross_entropy(logits_BK, labels_B)


def test_a_downstream_that_learns_slower_still_does() -> None:
    backbone = BACKBONE._replace(module=nn.Conv2d(3, 6, TOKEN, TOKEN))
    module = anchor_exit.build(backbone, 3, layers="tiny", downstream="finetune", side=16)
    assert isinstance(module, AnchorExit)
    for part in (module.resized, module.patches):
        (prefix,) = part.lr_factors
        assert prefix == "net.backbone." and any(name.startswith(prefix) for name, _ in part.named_parameters())


def test_it_runs_in_bfloat16() -> None:
    module, inputs = exit_model(multi_scale=True).train(), Batch(draw(4, 3, 40, 48))
    with torch.autocast("cpu", torch.bfloat16):
        for _, part in phases(module):
            output = part.train()(inputs)
            loss = F.cross_entropy(output.logits_BK.float(), torch.tensor([0, 1, 2, 0]))
            (loss + output.extras.get("energy", torch.zeros(1)).mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": "huge"}, "no AnchorNet layers 'huge'"),
        ({"skip_crop": "left"}, "can't crop a skip 'left'"),
        ({"tau": 1.0}, "tau = 1.0"),
        ({"tau": [0.3]}, r"tau = \[0.3\]"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": [1.5]}, "thresholds"),
        ({"downstream": "erm"}, "can't use 'erm' downstream"),
        ({"downstream_options": {"layers": "tiny"}}, "downstream_options and no downstream to take them"),
    ],
)
def test_a_wrong_option_is_explained(options: dict[str, object], says: str) -> None:
    with pytest.raises(FieldmarkError, match=says):
        anchor_exit.build(BACKBONE, 2, **options)  # type: ignore[arg-type]  # wrong on purpose


# --- the claims' measures


def red_or_green(count: int, seed: int, side: int = 40) -> Batch:
    """Pictures of noise with a square of 8 px that is red (0) or green (1), at any place that is whole tokens."""
    rng = np.random.default_rng(seed)
    x_BCHW, object_Bhw = draw(count, 3, side, side, seed=seed), torch.zeros(count, side // TOKEN, side // TOKEN)
    for b, (y, x) in enumerate(rng.integers(0, side // TOKEN, (count, 2))):
        x_BCHW[b, b % 2, y * TOKEN : (y + 1) * TOKEN, x * TOKEN : (x + 1) * TOKEN] += 3
        object_Bhw[b, y, x] = 1
    return Batch(x_BCHW, object_Bhw, torch.arange(count))


def colours(count: int) -> Tensor:
    return torch.arange(count) % 2


@pytest.fixture(scope="module")
def trained() -> AnchorExit:
    """Early exit that has learned what is red and what is green."""
    module = initialised(lambda: anchor_exit.build(BACKBONE, 2, layers="tiny", thresholds=[0.9, 0.9], se=False), 0)
    assert isinstance(module, AnchorExit)
    pieces = [(red_or_green(16, seed), colours(16), colours(16)) for seed in range(6)]
    for _, part in phases(module):
        fit(part, lambda _: pieces, objective=erm, epochs=6, lr=0.01, weight_decay=0.0)
    return module


def test_measures_find_what_was_planted(trained: AnchorExit) -> None:
    told = [(red_or_green(n, seed=n), colours(n), colours(n)) for n in (64, 63)]
    found = anchor_exit.measures(trained, told)
    value = {name: score.value for name, score in found.items()}
    assert found.keys() <= anchor_exit.MEANINGS.keys() == anchor_exit.HIGHER_IS_BETTER.keys()
    assert all(len(score.values) == 127 and score.rows.tolist() == [*range(127)] for score in found.values())
    assert value["anchor_outside_change"] == 0, "without squeeze-excitation a location is its patch"
    assert value["anchor_box_gain"] > 0.03 and found["anchor_box_object"].chance < value["anchor_box_object"]
    assert value["anchor_evidence_correlation"] > 0.3
    assert value["patch_accuracy_top"] > 0.75 and value["patch_top_over_random"] > 0.15
    assert value["patch_top_over_random"] == pytest.approx(value["patch_accuracy_top"] - value["patch_accuracy_random"])
    assert value["exit_cost_1"] < value["exit_cost_2"] < value["exit_cost_3"]
    patch = cost(trained.patches.net, Batch(torch.zeros(1, 3, 19, 19))).macs / 1e6
    assert value["exit_cost_3"] - value["exit_cost_2"] == pytest.approx(patch)
    assert value["early_cost_share"] <= 1 and value["early_accuracy_99"] >= value["exit_accuracy_1"] - 0.05


def test_anchornet_measures_what_it_can_alone(trained: AnchorExit) -> None:
    told = [(red_or_green(16, seed=99), colours(16), colours(16))]
    alone = anchornet.measures(trained.patches.anchor, told)
    both = anchor_exit.measures(trained, told)
    assert alone.keys() == anchornet.MEANINGS.keys() == anchornet.HIGHER_IS_BETTER.keys()
    for name, score in alone.items():
        np.testing.assert_array_equal(score.values, both[name].values)


def test_the_share_of_object_in_a_box_by_hand(trained: AnchorExit) -> None:
    anchor, batch = trained.patches.anchor, red_or_green(3, seed=4)
    everywhere = batch._replace(object_Bhw=torch.ones(3, 5, 5))
    found = anchor.find(batch.x_BCHW)
    for share_B in _anchor_measures.object_shares(anchor, found, everywhere):
        torch.testing.assert_close(share_B, torch.ones(3))
    share_B, _ = _anchor_measures.object_shares(anchor, found, batch)
    assert batch.object_Bhw is not None
    pixels_BHW = batch.object_Bhw.repeat_interleave(TOKEN, 1).repeat_interleave(TOKEN, 2)
    for share, box_22, pixels_HW in zip(share_B, found.box_Bk22[:, 0], pixels_BHW, strict=True):
        (top, bottom), (left, right) = box_22.tolist()
        torch.testing.assert_close(share, pixels_HW[top:bottom, left:right].mean())


def test_combiners_by_hand() -> None:
    looks_NSK = np.array([[[2.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 0.0]]] * 4)
    there_NS, label_N, half_N = np.array([[True, True], [True, False]] * 4), np.zeros(8, int), np.repeat([0.0, 1.0], 4)
    found = _combiners.combiners(looks_NSK, there_NS, label_N, half_N)
    assert found["combiner_accuracy_sum"][:2].tolist() == [0.0, 1.0]
    np.testing.assert_allclose(found["combiner_nll_sum"][:2], np.log1p(np.exp([2.0, -1.0])))
    np.testing.assert_allclose(found["combiner_nll_mean"][:2], np.log1p(np.exp([1.0, -1.0])))
    unknown = _combiners.combiners(looks_NSK, there_NS, label_N, np.zeros(8))
    assert np.isnan(unknown["combiner_nll_calibrated"]).all() and np.isnan(unknown["combiner_nll_probability"]).all()


def test_calibrated_sum_and_mean_are_the_same() -> None:
    rng = np.random.default_rng(0)
    label_N, half_N = rng.integers(0, 4, 200), np.arange(200) % 2
    logits_NSK = rng.normal(0, 3, (200, 3, 4)) + 2 * np.eye(4)[label_N][:, None]
    everything = np.ones(200, bool)
    of_sum, of_mean = (
        _combiners.calibrated(logits_NK, label_N, half_N.astype(float), everything)
        for logits_NK in (logits_NSK.sum(1), logits_NSK.mean(1))
    )
    np.testing.assert_allclose(of_sum, of_mean, atol=1e-2)


def test_measures_without_keys_say_so(trained: AnchorExit) -> None:
    batch = red_or_green(4, seed=5)
    with pytest.raises(FieldmarkError, match="without keys"):
        anchor_exit.measures(trained, [(batch._replace(key_B=None), colours(4), colours(4))])


def test_every_step_that_can_be_asked_for_has_a_meaning() -> None:
    with pytest.raises(FieldmarkError, match="thresholds"):
        anchor_exit.build(BACKBONE, 2, thresholds=[0.9] * _exit_measures.MOST_STEPS)
