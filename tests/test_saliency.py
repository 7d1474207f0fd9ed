"""The head that came with a backbone: what of its mask is a token's, and that it aims in training and in service."""

from pathlib import Path

import numpy as np
import pytest
import torch
import world as worlds
import yaml
from torch import nn

from fieldmark import serve
from fieldmark.core import layout, params, store
from fieldmark.core.contracts import Backbone, Batch
from fieldmark.core.params import Params
from fieldmark.layers.saliency_head import FINER, SaliencyHead, remembering
from fieldmark.models import saliency
from stages import embed, train
from stages._cell import View, opened
from stages._results import about

VIT = {"backbone": {"name": "vit_focus", "options": {}}, "size": 56}  # 4 x 4 tokens
ZOOM = {"plugin": "two_stage", "options": {"first": "saliency", "sharpness": 4.0}}


class Bright(SaliencyHead):
    """Sees object in the upper left quarter of every bright token."""

    def scores(self, x_BChw: torch.Tensor) -> torch.Tensor:
        corner_8 = torch.where(torch.arange(FINER) < FINER // 2, 1.0, 0.0)
        inside_BHW = torch.kron(x_BChw[:, 0], corner_8[:, None] * corner_8)
        return torch.where(inside_BHW > 0, 100.0, -100.0)


def test_a_tokens_share_is_the_mean_over_its_patch() -> None:
    x_BCHW = torch.zeros(1, 1, 2, 3)
    x_BCHW[0, 0, 1, 2] = 1
    assert Bright(1)(Batch(x_BCHW)).tolist() == [[[0, 0, 0], [0, 0, 0.25]]]


def test_the_mask_weights_tokens_and_the_head_never_learns() -> None:
    backbone = Backbone(nn.Identity(), 1, 1, (0.0,) * 3, (1.0,) * 3, "", lambda: Bright(1).requires_grad_(False))
    module = saliency.build(backbone, 2).train()
    nn.init.ones_(module.linear.weight)
    nn.init.zeros_(module.linear.bias)
    output = module(Batch(torch.tensor([[[[4.0, 0.0]]]])))
    assert output.mask_Bhw.tolist() == [[[0.25, 0.0]]]
    assert output.logits_BK.tolist() == [[0.5, 0.5]]  # a quarter of 4, in the mean of two tokens
    assert {name for name, p in module.named_parameters() if p.requires_grad} == {"linear.weight", "linear.bias"}
    assert not any(part.training for part in module.choose.modules())


class Counting(Bright):
    """Counts what it is asked."""

    asked = 0

    def scores(self, x_BChw: torch.Tensor) -> torch.Tensor:
        self.asked += len(x_BChw)
        return super().scores(x_BChw)


def test_a_training_asks_about_each_example_once_whatever_it_comes_with() -> None:
    head, x_BCHW = Counting(1), torch.randint(0, 2, (6, 1, 2, 3), generator=torch.Generator().manual_seed(0)).float()
    wanted, distinct = head(Batch(x_BCHW)), len(x_BCHW.unique(dim=0))
    with remembering(nn.ModuleList([head])):
        head.asked = 0
        for order in ([0, 1, 2, 3, 4, 5], [5, 3], [1, 0, 4]):
            assert torch.equal(head(Batch(x_BCHW[order])), wanted[order])
        assert head.asked == distinct
    head(Batch(x_BCHW))
    assert head.asked == distinct + 6, "who measures the cost of an answer gets one"


@pytest.fixture(scope="module")
def project(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project where a cell aims by the head of the ViT."""
    root = worlds.copy(world, tmp_path_factory.mktemp("saliency") / "project")
    measures = ["average", "worst_group"]
    evaluate = {"tests": dict.fromkeys(measures, {}), "validation": measures, "variants": ["original"]}
    register = {"name": "fieldmark", "baseline": "salient", "candidates": ["zoom_saliency"], "minimum_group": 1}
    worlds.write_params(
        root, **VIT, models={"salient": {"plugin": "saliency"}, "zoom_saliency": ZOOM}, seeds=[0], evaluate=evaluate,
        register=register, explain={"measures": {"token_auc": {}}},
    )  # fmt: skip
    embed.main(params.load(root / "params.yaml"), root, 0)
    for model in ("salient", "zoom_saliency"):
        train.main(params.load(root / "params.yaml"), root, model, 0)
    return root


def test_a_cell_aims_where_the_head_sees_the_object(project: Path) -> None:
    view, module = opened(params.load(project / "params.yaml"), project, "zoom_saliency", 0)
    (batch, _, _), *_ = view.in_order(view.part("test"))
    with torch.inference_mode():
        aim_Bhw = module(batch).extras["aim"]
        assert torch.equal(aim_Bhw, view.frozen.saliency()(batch))
    assert batch.object_Bhw is not None
    on_B = (aim_Bhw * batch.object_Bhw).sum((1, 2)) / batch.object_Bhw.sum((1, 2))
    off_B = (aim_Bhw * (1 - batch.object_Bhw)).sum((1, 2)) / (1 - batch.object_Bhw).sum((1, 2))
    assert (on_B > off_B).float().mean() > 0.9


def test_the_report_says_that_others_drew_masks_for_it(project: Path) -> None:
    words = {
        "dull": {"plugin": "erm"},
        "zoom_dull": {"plugin": "two_stage"},
        "salient_dfr": {"plugin": "saliency", "objective": "dfr_val"},
    }
    for word in words:
        (layout.trained(project, word, 0)).mkdir()
        store.write_json(layout.trained(project, word, 0) / "cost.json", {})
    values = yaml.safe_load((project / "params.yaml").read_text())
    values["models"] |= words
    found = about(Params.model_validate(values), project)
    assert {word: one.supervision for word, one in found.items()} == {
        "salient": "masks of other pictures", "zoom_saliency": "masks of other pictures", "dull": "none",
        "zoom_dull": "none", "salient_dfr": "masks of other pictures, val groups",
    }  # fmt: skip


@pytest.mark.parametrize("model", ["salient", "zoom_saliency"])
def test_in_service_it_answers_as_in_training(project: Path, model: str) -> None:
    folder = layout.trained(project, model, 0)
    assert "saliency" not in store.read_json(folder / "config.json")["backbone"]
    view = View(params.load(project / "params.yaml"), project, model, 0)
    some = view.part("test")[:4]
    answer = serve.Classifier.load(folder).predict(list(view.pictures(some, 56).images_NHW3))
    _, module = opened(params.load(project / "params.yaml"), project, model, 0)
    (batch, _, _), *_ = view.in_order(some)
    with torch.inference_mode():
        expected = module(batch)
    if model == "salient":  # a second look at a picture of 56 px has less detail than one at its sources
        np.testing.assert_allclose(answer.probabilities, expected.logits_BK.softmax(1), atol=2e-3)
        np.testing.assert_allclose(answer.mask, expected.mask_Bhw, atol=2e-3)
    assert answer.mask.shape == (4, 4, 4) and set(answer.label) <= {"disc", "square"}
