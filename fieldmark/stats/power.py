"""What a test of this size could have seen."""

from collections.abc import Sequence
from statistics import NormalDist, median

POWER = 0.8  # the usual probability of a find that makes a test worth doing (Cohen 1988)

_NORMAL = NormalDist()


def detectable(error: float, level: float, power: float = POWER) -> float:
    """Return the smallest true difference that a two-sided test finds with probability ``power``: (z + z') · error.

    ``error`` is the standard error of the difference, here the spread of its draws; draws are taken for normal. Nothing
    is said about what was found: the same test without any difference has the same answer (Bloom 1995, doi
    10.1177/0193841X9501900504). Without any spread it is NaN: models that never differ show no error to measure by.

    >>> round(detectable(0.01, 0.95), 4)  # 1.96 + 0.8416
    0.028
    """
    return (_NORMAL.inv_cdf((1 + level) / 2) + _NORMAL.inv_cdf(power)) * error if error > 0 else float("nan")


def note(detectables: Sequence[float], *, measure: str, sources: int, examples: int, seeds: int) -> str:
    """Say what comparisons of this size could have seen.

    Args:
        detectables: of each comparison, as fractions; NaN is left out.
        measure: what was compared, as people call it.
        sources: different sources behind the examples, over all seeds.
        examples: number of observations, over all seeds.
        seeds: how many.

    >>> note([0.05, 0.09, 0.123], measure="the worst group", sources=70, examples=1200, seeds=3)
    'With 70 sources behind 1,200 examples and 3 seeds, a true difference of 9 points in the worst group would be found with 80 % probability (5 to 12, depending on the models).'
    >>> note([], measure="the worst group", sources=70, examples=1200, seeds=3)
    'What this test could have seen of the worst group is unknown.'
    """  # noqa: E501  # one sentence
    known = sorted(value for value in detectables if value == value)
    if not known:
        return f"What this test could have seen of {measure} is unknown."
    low, middle, high = (f"{100 * value:.0f}" for value in (known[0], median(known), known[-1]))
    apart = f" ({low} to {high}, depending on the models)" if low != high else ""
    return (
        f"With {sources} sources behind {examples:,} examples and {seeds} seed{'s' * (seeds > 1)}, a true difference of"
        f" {middle} points in {measure} would be found with {POWER * 100:.0f} % probability{apart}."
    )
