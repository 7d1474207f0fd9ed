"""What a GPU must give: the CPU's answers within its precision, and steps that it is never waited for in.

Without a GPU there is nothing to show.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from classroom import BACKBONE, planted, targets
from test_models import CHANNELS, CLASSES, VARIANTS, backbone, batch, every_model, model, nearer
from torch.nn.functional import cross_entropy

from fieldmark.core import device, plugins
from fieldmark.core.contracts import Batch
from fieldmark.training import heads
from fieldmark.training.embed import embed
from fieldmark.training.fit import Triples, fit, initialised, move
from fieldmark.training.phases import phases
from fieldmark.training.predict import predict

GPU = device.ready()
pytestmark = pytest.mark.skipif(GPU == "cpu", reason="no GPU here")
#: All but iFAM: torch sums the gradients of its warped maps (``grid_sample``) in any order.
ORDERED = [(name, options) for name, options in VARIANTS if "ifam" not in (name, options.get("first"))]
LABELS = torch.tensor([0, 1, 2, 0, 1])


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let any call that makes the host wait for the GPU be an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def on_gpu(name: str) -> Batch:
    there = move(batch(name), GPU)
    assert there.pixels is not None
    picture_B3HW = there.pixels().to(GPU)  # fetching it is no model's business
    return there._replace(look=nearer(there.x_BCHW), pixels=lambda: picture_B3HW)


def blind(logits_BK: torch.Tensor, labels_B: torch.Tensor, groups_B: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits_BK, labels_B)


@every_model
def test_a_step_never_waits_for_the_gpu(name: str, options: dict[str, Any]) -> None:
    inputs, labels_B = on_gpu(name), LABELS.to(GPU)
    for _, part in phases(model(name, options).to(GPU)):
        for attempt in range(2):  # the first one may choose kernels
            with no_waiting() if attempt else nullcontext(), torch.autocast("cuda", torch.bfloat16):
                output = part.train()(inputs)
                cross_entropy(output.logits_BK.float(), labels_B).backward()


@every_model
def test_the_gpu_answers_as_the_cpu_does(name: str, options: dict[str, Any]) -> None:
    module = model(name, options).eval()
    said = module(batch(name))
    there = module.to(GPU)(on_gpu(name))
    torch.testing.assert_close(there.logits_BK.cpu(), said.logits_BK, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(there.mask_Bhw.cpu(), said.mask_Bhw, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", plugins.names("objectives"))
def test_no_objective_and_no_part_of_the_loop_waits_for_the_gpu(name: str) -> None:
    data = planted(0.95, 128)
    objective = plugins.find("objectives", name).build(targets(data))
    rows = getattr(objective, "rows", None)
    ordered = heads.shuffled(data, batch=32, seed=0, rows=rows, device=GPU)

    def watched(epoch: int) -> Triples:
        with no_waiting() if epoch else nullcontext():  # the first may choose kernels
            yield from ordered(epoch)

    module = initialised(lambda: plugins.find("models", "ersm").build(BACKBONE, 2), 0)
    fit(module, watched, objective=objective, epochs=2, lr=0.01, weight_decay=0.0, device=GPU)


@pytest.mark.parametrize(("name", "options"), ORDERED, ids=str)
def test_a_gpu_learns_the_same_bits_twice(name: str, options: dict[str, Any]) -> None:
    labels_B = LABELS.to(GPU)
    lessons = [(on_gpu(name), labels_B, torch.zeros_like(labels_B))] * 4
    learnt = []
    for _ in range(2):
        module = model(name, options)
        for _, part in phases(module):
            fit(part, lambda _: lessons, objective=blind, epochs=2, lr=0.01, weight_decay=0.0, device=GPU)
        learnt.append(torch.nn.utils.parameters_to_vector(module.parameters()))
    assert torch.equal(*learnt)


def test_a_head_learns_the_same_from_examples_that_lie_on_the_gpu() -> None:
    draw = np.random.default_rng(0)
    features_NhwC, labels_N = draw.normal(size=(64, 4, 6, CHANNELS)).astype(np.float16), np.arange(64) % CLASSES
    features_NhwC[..., 0] += 2 * labels_N[:, None, None]
    learnt = {}
    for where in ("cpu", GPU):
        known = heads.examples(
            features_NhwC, np.arange(64), labels=labels_N, groups=labels_N, objects_Nhw=np.ones((64, 4, 6), np.float32),
            keys=np.arange(64),
        )  # fmt: skip
        batches = heads.shuffled(known, batch=16, seed=0, device=where)
        module, how = model("erm", {}), {"objective": blind, "epochs": 20, "lr": 0.1, "weight_decay": 0.0, "seed": 0}
        fit(module, batches, device=where, **how)
        learnt[where] = predict(module, heads.in_order(known, batch=16), device=where).probabilities_NK
    np.testing.assert_allclose(learnt[GPU], learnt["cpu"], atol=0.05)
    assert (learnt[GPU].argmax(1) == labels_N).mean() > 0.9


def test_embedding_in_half_precision_is_near_that_in_full() -> None:
    images_NHW3 = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    found = {where: np.empty((5, 2, 3, CHANNELS), np.float16) for where in ("cpu", GPU)}
    for where, into_NhwC in found.items():
        embed(backbone(), images_NHW3, into_NhwC, batch=4, device=where)
    np.testing.assert_allclose(found[GPU].astype(float), found["cpu"].astype(float), rtol=2e-2, atol=2e-2)
