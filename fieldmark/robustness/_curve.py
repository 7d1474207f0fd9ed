"""A curve as a score: its cells are its points, its value the area under it, divided by its width."""

from collections.abc import Sequence

import numpy as np


def trapezoid(points: Sequence[float]) -> list[float]:
    """Return the weight of each point in the area under a curve, by the trapezoid rule; they add up to 1.

    >>> trapezoid([0, 1, 4])
    [0.125, 0.5, 0.375]
    """
    steps = np.diff(np.asarray(points, np.float64)) / (points[-1] - points[0])
    return list(map(float, (np.append(steps, 0) + np.insert(steps, 0, 0)) / 2))
