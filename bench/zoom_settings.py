"""Claim: of the ways to look twice, a crop of half the frame around the strongest features is as good as any.

Trains each setting on every seed (run ``make repro`` first) and prints validation accuracy, average and worst group, as
means over seeds. Some minutes a setting: each looks at other crops.
"""

from bench.ersm_settings import compare


def zoom(**options: object) -> tuple[str, dict[str, object], float]:
    """Return a setting of ``two_stage``."""
    return "two_stage", options, 1e-3


SETTINGS: dict[str, tuple[str, dict[str, object], float]] = {
    "erm": ("erm", {}, 1e-3),
    "oracle_mask": ("oracle_mask", {}, 1e-3),
    "norm, half the frame": zoom(),
    "norm, 0.4": zoom(sides=(0.4,)),
    "norm, 0.35": zoom(sides=(0.35,)),
    "norm, then ersm": zoom(second="ersm"),
    "norm, then norm": zoom(second="token_norm"),
    "norm, lr / 3": ("two_stage", {}, 3e-4),
    "ersm, half the frame": zoom(first="ersm"),
    "ersm, 0.35": zoom(first="ersm", sides=(0.35,)),
    "ersm, then ersm": zoom(first="ersm", second="ersm"),
    "frame's centre": zoom(first="erm"),
    "random token": zoom(first="random_token"),
}

if __name__ == "__main__":
    compare(SETTINGS)
