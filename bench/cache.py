"""Claim: an epoch over rendered images costs a memory copy, many times less than rendering them again.

Prints the time to render 400 recipes of `shapes`, to read them back from the memory-mapped cache, and the ratio.
"""

import tempfile
import time
from pathlib import Path

from fieldmark.core import tables
from fieldmark.datasets import shapes
from fieldmark.loading.cache import rendered
from fieldmark.loading.sources import Sources
from fieldmark.splits import spurious

EPOCHS = 10
PAIRS = {"disc": "sand", "square": "sea"}


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as workspace:
        raw, cache = Path(workspace) / "raw", Path(workspace) / "cache"
        raw.mkdir()
        shapes.pull(raw)
        index = tables.conform(shapes.index(raw), tables.INDEX)
        recipes = spurious.assign(index, seed=0, correlation=0.95, pairs=PAIRS, train=400, val=40, test=40)
        recipes = recipes[recipes["part"] == "train"]
        start = time.perf_counter()
        rendered(recipes, Sources(raw, index), 160, cache)
        first = time.perf_counter() - start
        found = rendered(recipes, Sources(raw, index), 160, cache)
        start = time.perf_counter()
        for _ in range(EPOCHS):
            found.images_UHW3[found.rows_N]  # fancy indexing copies
        again = (time.perf_counter() - start) / EPOCHS
    print(f"render {first:.2f} s, read back {again:.4f} s: {first / again:.0f} times as fast")


if __name__ == "__main__":
    main()
