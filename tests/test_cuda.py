"""What a GPU must give: the CPU's answers within its precision, and steps that it is never waited for in.

Without a GPU there is nothing to show.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from test_models import CHANNELS, CLASSES, backbone, batch, every_model, model, nearer
from torch.nn.functional import cross_entropy

from fieldmark.core.contracts import Batch
from fieldmark.training import heads
from fieldmark.training.embed import embed
from fieldmark.training.fit import fit, move
from fieldmark.training.phases import phases
from fieldmark.training.predict import predict

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
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
    there = move(batch(name), "cuda")
    return there._replace(look=nearer(there.x_BCHW))


def blind(logits_BK: torch.Tensor, labels_B: torch.Tensor, groups_B: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits_BK, labels_B)


@every_model
def test_a_step_never_waits_for_the_gpu(name: str, options: dict[str, Any]) -> None:
    inputs, labels_B = on_gpu(name), LABELS.to("cuda")
    for _, part in phases(model(name, options).to("cuda")):
        for attempt in range(2):  # the first one may choose kernels
            with no_waiting() if attempt else torch.enable_grad(), torch.autocast("cuda", torch.bfloat16):
                output = part.train()(inputs)
                cross_entropy(output.logits_BK.float(), labels_B).backward()


@every_model
def test_the_gpu_answers_as_the_cpu_does(name: str, options: dict[str, Any]) -> None:
    module = model(name, options).eval()
    said = module(batch(name))
    there = module.to("cuda")(on_gpu(name))
    torch.testing.assert_close(there.logits_BK.cpu(), said.logits_BK, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(there.mask_Bhw.cpu(), said.mask_Bhw, rtol=1e-2, atol=1e-2)


def test_a_head_learns_the_same_from_examples_that_lie_on_the_gpu() -> None:
    draw = np.random.default_rng(0)
    features_NhwC, labels_N = draw.normal(size=(64, 4, 6, CHANNELS)).astype(np.float16), np.arange(64) % CLASSES
    features_NhwC[..., 0] += 2 * labels_N[:, None, None]
    learnt = {}
    for device in ("cpu", "cuda"):
        known = heads.examples(
            features_NhwC, np.arange(64), labels=labels_N, groups=labels_N, objects_Nhw=np.ones((64, 4, 6), np.float32),
            keys=np.arange(64),
        )  # fmt: skip
        batches = heads.shuffled(known, batch=16, seed=0, device=device)
        module, how = model("erm", {}), {"objective": blind, "epochs": 20, "lr": 0.1, "weight_decay": 0.0, "seed": 0}
        fit(module, batches, device=device, **how)
        learnt[device] = predict(module, heads.in_order(known, batch=16), device=device).probabilities_NK
    np.testing.assert_allclose(learnt["cuda"], learnt["cpu"], atol=0.05)
    assert (learnt["cuda"].argmax(1) == labels_N).mean() > 0.9


def test_embedding_in_half_precision_is_near_that_in_full() -> None:
    images_NHW3 = np.random.default_rng(0).integers(0, 256, (5, 32, 48, 3), np.uint8)
    found = {device: np.empty((5, 2, 3, CHANNELS), np.float16) for device in ("cpu", "cuda")}
    for device, into_NhwC in found.items():
        embed(backbone(), images_NHW3, into_NhwC, batch=4, device=device)
    np.testing.assert_allclose(found["cuda"].astype(float), found["cpu"].astype(float), rtol=2e-2, atol=2e-2)
