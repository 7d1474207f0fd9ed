"""Is the sum of logits a good way to put looks together (AnchorNet, arXiv 2206.03367)? Against its rivals, calibrated.

A temperature is fitted for each step on one half of the examples and used on the other. Sum and mean of logits differ
by the number of looks: they give the same answer, and after calibration, where all pictures have the same number, the
same probabilities. Only the mean of probabilities is another combiner then.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MEANINGS = {
    "combiner_accuracy_sum": "Accuracy of the sum of all looks' logits (and of their mean: it is the same answer).",
    "combiner_accuracy_probability": "Accuracy of the mean of all looks' probabilities, each look calibrated.",
    "combiner_nll_sum": "Cross-entropy (nats) of the sum of all looks' logits, as it is used.",
    "combiner_nll_mean": "Cross-entropy (nats) of the mean of all looks' logits.",
    "combiner_nll_calibrated": "Cross-entropy (nats) of the sum of all looks' logits, calibrated.",
    "combiner_nll_probability": "Cross-entropy (nats) of the mean of all looks' probabilities, each look calibrated.",
}


def combiners(
    logits_NSK: Floats, there_NS: npt.NDArray[np.bool_], label_N: npt.NDArray[np.int64], half_N: Floats
) -> dict[str, Floats]:
    """Return an observation (N,) for each measure, after the last step.

    Args:
        logits_NSK: of each look; zeros where there was none.
        there_NS: whether there was one.
        label_N: the truth.
        half_N: 0 or 1; the temperatures of one half are fitted on the other. Without a half they are unknown, NaN.
    """
    sum_NK, count_N1 = logits_NSK.sum(1), there_NS.sum(1, keepdims=True)
    calibrated_NK = calibrated(sum_NK, label_N, half_N, np.ones(len(label_N), bool))
    looks = [
        np.exp(calibrated(logits_NSK[:, step], label_N, half_N, there_NS[:, step])) * there_NS[:, step, None]
        for step in range(logits_NSK.shape[1])
    ]
    probability_NK = np.sum(looks, axis=0) / count_N1
    right_N = (probability_NK.argmax(1) == label_N).astype(np.float64)
    row_N = np.arange(len(label_N))
    return {
        "combiner_accuracy_sum": (sum_NK.argmax(1) == label_N).astype(np.float64),
        "combiner_accuracy_probability": np.where(np.isnan(probability_NK).any(1), np.nan, right_N),
        "combiner_nll_sum": -log_softmax(sum_NK)[row_N, label_N],
        "combiner_nll_mean": -log_softmax(sum_NK / count_N1)[row_N, label_N],
        "combiner_nll_calibrated": -calibrated_NK[row_N, label_N],
        "combiner_nll_probability": -np.log(probability_NK[row_N, label_N]),
    }


def calibrated(
    logits_NK: Floats, label_N: npt.NDArray[np.int64], half_N: Floats, there_N: npt.NDArray[np.bool_]
) -> Floats:
    """Return log-probabilities, each half's at the temperature that suits the other half best."""
    temperature_N = np.full(len(label_N), np.nan)
    for half in (0, 1):
        fitted = there_N & (half_N != half)
        temperature_N[half_N == half] = temperature(logits_NK[fitted], label_N[fitted])
    return log_softmax(logits_NK / temperature_N[:, None])


def temperature(logits_NK: Floats, label_N: npt.NDArray[np.int64]) -> float:
    """Return the T in [0.01, 100] whose softmax(logits / T) has the lowest cross-entropy; NaN for no examples.

    >>> half_wrong = np.array([[2.0, 0.0]] * 4)
    >>> round(2 / temperature(half_wrong, np.array([0, 0, 0, 1])), 3)  # odds of 3 to 1 need logits ln 3 apart
    1.099
    """
    from scipy.optimize import minimize_scalar

    if not len(label_N):
        return float("nan")
    row_N = np.arange(len(label_N))

    def cross_entropy(log_t: float) -> float:
        return float(-log_softmax(logits_NK * np.exp(-log_t))[row_N, label_N].mean())

    span = np.log(100.0)
    return float(np.exp(minimize_scalar(cross_entropy, bounds=(-span, span), method="bounded").x))


def log_softmax(logits_NK: Floats) -> Floats:
    """Return log-probabilities."""
    from scipy.special import log_softmax as over_classes

    log_p_NK: Floats = over_classes(logits_NK, axis=1)
    return log_p_NK
