"""What was measured, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from fieldmark.audit.suite import CHANGED, FOLLOWS, Intervals, Measured
from fieldmark.core.contracts import Interval

CLEAR, STRONG = 0.05, 0.15  # points that the usual background is worth, from which words become stronger
MOST = 3  # classes that are named one by one


class Fall(NamedTuple):
    """What a class loses off the background it usually stands on."""

    label: str
    usual: str
    other: str
    lost: Interval  # accuracy on the usual background minus accuracy on the other


def falls(measured: Measured, pairs: Mapping[str, str], intervals: Intervals) -> list[Fall]:
    """Return each class's greatest loss, the greatest first; unknown ones last."""
    worst = measured.observed.get("worst_group")
    if worst is None:
        return []
    means, found = worst.score.means(), []
    for label, usual in pairs.items():
        others = [group.removeprefix(f"{label} on ") for group in means if _label(group, pairs) == label]
        known = [other for other in others if other != usual and not np.isnan(means[f"{label} on {other}"])]
        if known:
            other = min(known, key=lambda name: means[f"{label} on {name}"])
            weights = {f"{label} on {usual}": 1.0, f"{label} on {other}": -1.0}
            found.append(Fall(label, usual, other, intervals.weighted(worst, weights)))
    return sorted(found, key=lambda fall: (np.isnan(fall.lost.mean), -fall.lost.mean))


def _label(group: str, labels: Iterable[str]) -> str:
    """Return the label of a group.

    >>> _label("dog on leash on land", ["bird", "dog", "dog on leash"])
    'dog on leash'
    """
    return max((label for label in labels if group.startswith(f"{label} on ")), key=len)


def verdict(gap: Interval | None) -> str:
    """Say how much a model leans on the background; ``gap`` is what the usual one is worth.

    >>> from fieldmark.stats import Interval
    >>> verdict(Interval(0.23, 0.15, 0.31, 400, 1))
    'It leans heavily on the background: the usual one is worth 23 points [15, 31].'
    >>> verdict(Interval(0.01, -0.04, 0.06, 400, 1))
    'No leaning on the background was found; one of up to 6 points could hide in the interval [-4, 6].'
    """
    if gap is None or np.isnan(gap.mean):
        return "Whether it leans on the background can't be told: a group of examples is empty."
    if gap.low > 0:
        how = "heavily" if gap.mean >= STRONG else "clearly" if gap.mean >= CLEAR else "a little"
        return f"It leans {how} on the background: the usual one is worth {points(gap)}."
    if gap.high < 0:
        return f"It does better on unusual backgrounds: the usual one costs {points(gap, sign=-1)}."
    return (
        f"No leaning on the background was found; one of up to {_whole(gap.high)} points could hide in the interval "
        f"[{_whole(gap.low)}, {_whole(gap.high)}]."
    )


def points(found: Interval, *, sign: int = 1) -> str:
    """Return a difference in percentage points with its interval.

    >>> from fieldmark.stats import Interval
    >>> points(Interval(0.234, 0.151, 0.309, 400, 1))
    '23 points [15, 31]'
    """
    low, high = sorted((sign * found.low, sign * found.high))
    return f"{_whole(sign * found.mean)} points [{_whole(low)}, {_whole(high)}]"


def percent(found: Interval) -> str:
    """Return a share with its interval."""
    return f"{_whole(found.mean)} % [{_whole(found.low)}, {_whole(found.high)}]"


def _whole(share: float) -> str:
    """Return hundredths without decimals; with one, where a difference would look like none.

    >>> _whole(0.234), _whole(-0.003), _whole(0.0), _whole(float("nan"))
    ('23', '-0.3', '0', 'unknown')
    """
    if np.isnan(share):
        return "unknown"
    return f"{100 * share:.1f}" if 0.0005 <= abs(share) < 0.005 else f"{round(100 * share):d}"


def summary(measured: Measured, pairs: Mapping[str, str], intervals: Intervals) -> list[str]:
    """Return the verdict and what it rests on, a sentence each."""
    rows = {metric: intervals.of(observed) for metric, observed in measured.observed.items()}
    said = [verdict(rows.get("alignment_gap"))]
    if {"average", "worst_group"} <= {*rows}:
        said.append(f"It is right on {percent(rows['average'])} of the pictures, {_worst(measured, rows)}.")
    for fall in falls(measured, pairs, intervals)[:MOST]:
        what = f"{fall.label} stands on {fall.other} instead of {fall.usual}"
        if np.isnan(fall.lost.mean):
            continue
        if fall.lost.low > 0:
            said.append(f"It loses {points(fall.lost)} when {what}.")
        elif fall.lost.high < 0:
            said.append(f"It gains {points(fall.lost, sign=-1)} when {what}.")
        else:
            said.append(f"No loss was found when {what}: {points(fall.lost)}.")
    if CHANGED in rows:
        said.append(
            f"It changes its mind on {percent(rows[CHANGED])} of the objects when only the background is exchanged."
        )
    return [*said, *_alone(measured, rows), *_looked(measured, rows)]


def _worst(measured: Measured, rows: Mapping[str, Interval]) -> str:
    means = {group: mean for group, mean in measured.observed["worst_group"].score.means().items() if mean == mean}
    group = min(means, key=lambda name: means[name]) if means else "a group"
    return f"but on {percent(rows['worst_group'])} where it is worst: {group}"


def _alone(measured: Measured, rows: Mapping[str, Interval]) -> list[str]:
    """Say what the background alone tells the model."""
    found = rows.get(FOLLOWS)
    if found is None or np.isnan(found.mean):
        return []
    chance = _whole(measured.observed[FOLLOWS].score.chance)
    return [
        "Shown the background alone, with the object tiled over, it names the class that usually stands there on "
        f"{percent(found)} of the pictures; a guess among the data's classes would on {chance} %."
    ]


def _looked(measured: Measured, rows: Mapping[str, Interval]) -> list[str]:
    found = rows.get("energy_pointing")
    if found is None or np.isnan(found.mean):
        return []
    area = measured.observed["energy_pointing"].score.chance
    return [f"{percent(found)} of its evidence lies on the object, which covers {_whole(area)} % of the picture."]
