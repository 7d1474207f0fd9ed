"""How the C library deals with memory that a tensor no longer needs."""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of malloc.h
LARGE = 2**30  # bytes


def keep_memory() -> None:
    """Keep what is freed for the next tensor instead of giving it back to the system at once.

    glibc gives large blocks back, and gets them again page by page, each one zeroed: a third of the time that a
    backbone takes on the CPU (``bench/allocator.py``). Elsewhere this changes nothing.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option:
        option(TRIM_THRESHOLD, LARGE)
        option(MMAP_THRESHOLD, LARGE)
