"""Claim: memory that is kept for the next tensor makes a backbone on the CPU markedly faster (``core.allocator``).

Two processes embed the same pictures in turn, one that keeps memory and one that does not; prints the CPU seconds of
each, those spent in the system, and the ratio. Same bytes or exit code 1.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np

ROUNDS, IMAGES, SIDE, BATCH = 5, 64, 160, 16


def embed() -> None:
    """Embed once per line of standard input; answer with user and system seconds and the bytes' sha256."""
    import torch

    from fieldmark.backbones import efficientnet_lite0
    from fieldmark.core.allocator import keep_memory
    from fieldmark.training.embed import embed

    if sys.argv[1] == "keep":
        keep_memory()
    torch.set_num_threads(1)
    backbone = efficientnet_lite0.load()
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    side = SIDE // backbone.stride
    maps = np.empty((IMAGES, side, side, backbone.channels), np.float16)
    for _ in sys.stdin:
        before = os.times()
        embed(backbone, images, maps, batch=BATCH, device="cpu", progress="")
        now = os.times()
        print(now.user - before.user, now.system - before.system, hashlib.sha256(maps).hexdigest(), flush=True)


def main() -> None:
    """Measure."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "bench.allocator"]
    with subprocess.Popen([*command, "keep"], **pipes) as keeps, subprocess.Popen([*command, "give"], **pipes) as gives:
        seconds = {"keeps": np.zeros(2), "gives back": np.zeros(2)}
        for number in range(ROUNDS + 1):
            names = set()
            for name, process in zip(seconds, (keeps, gives), strict=True):
                print("again", file=process.stdin, flush=True)
                user, system, content = process.stdout.readline().split()
                names.add(content)
                seconds[name] += (number > 0) * np.array([float(user), float(system)])  # the first one warms up
            if len(names) > 1:
                sys.exit("other bytes")
        for process in (keeps, gives):
            process.stdin.close()
    for name, (user, system) in seconds.items():
        print(f"{name}: {user + system:.2f} s of CPU, {system:.2f} s of it in the system")
    print(f"{seconds['gives back'].sum() / seconds['keeps'].sum():.2f} times as fast")


if __name__ == "__main__":
    embed() if sys.argv[1:] else main()
