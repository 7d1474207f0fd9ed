"""Memory that is kept is not asked for again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from fieldmark.core.allocator import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(10):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    """Return how many pages the system had to give for the last of ten tensors of 64 MiB."""
    return int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other C library gives memory back so, or is asked to")
def test_a_tensor_gets_the_memory_that_the_last_one_had() -> None:
    assert faults("keep") < 16 < faults("give")
