"""How right the model is on live traffic, with an interval, from the reviews that people look at.

Prediction-powered, inverse-probability weighted: the mean confidence of all answers, corrected by
what the audited ones show to be wrong with it (Angelopoulos et al. 2023; Zrnic and Candès 2024).
Each audited answer was drawn with a known probability that is never 0, so that the correction has
no bias whatever was drawn more often; confidence alone would miss each change that matters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.records.monitoring_summary import Accuracy

LEAST_LABELS = 30
"""Audited answers that an interval needs: it is a normal one."""

_Z = 1.959964
"""Standard errors of a 95 % interval."""


@dataclass(frozen=True)
class Audited:
    """Answers that people checked; each array holds one value for each of them."""

    answers: NDArray[np.int64]  # how many of the window's answers it stands for: repeats of a text
    confidence: NDArray[np.float64]
    correct: NDArray[np.bool_]
    inclusion: NDArray[np.float64]  # probability with which it was drawn, above 0


def live_accuracy(
    confidence: NDArray[np.float64], audited: Audited, week: str = ""
) -> Accuracy | None:
    """Share of right answers on traffic such as this, with its 95 % interval.

    The weights are normalised by their sum: labels that are not there yet, or never will be because
    nobody could tell, cost precision and no bias, as long as they are missing at random.

    Args:
        confidence: Calibrated probability of the answered class, of all answers [n].
        audited: The answers among them that people checked.
        week: What the estimate is of.

    Returns:
        The estimate; None where fewer than `LEAST_LABELS` answers were checked.
    """
    from scipy.stats import t

    labels, n = len(audited.correct), len(confidence)
    if labels < LEAST_LABELS or not n:
        return None
    weight = 1 / audited.inclusion
    whole = float((weight * audited.answers).sum())
    off = audited.correct - audited.confidence
    correction = float((weight * audited.answers * off).sum()) / whole
    value = min(1.0, max(0.0, float(confidence.mean()) + correction))
    # Of the labels that were asked for only this share is there: they were rarer than planned.
    there = min(1.0, whole / n)
    spread = (1 - audited.inclusion * there) * (weight * audited.answers * (off - correction)) ** 2
    # The window itself is a sample of the traffic.
    variance = float(spread.sum()) / whole**2 + value * (1 - value) / n
    # Where a few heavy weights carry the variance, it is known no better than by that many rows.
    heavy = float((spread**2).sum())
    reach = t.ppf(0.975, max(1.0, float(spread.sum()) ** 2 / heavy)) if heavy else _Z
    reach *= variance**0.5
    return Accuracy(value, max(0.0, value - reach), min(1.0, value + reach), n, labels, week)


def accuracy_on_test(correct: NDArray[np.bool_]) -> Accuracy | None:
    """Accuracy on the test split with its 95 % interval (Wilson 1927); None without rows."""
    n = len(correct)
    if not n:
        return None
    share = float(correct.mean())
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z / (1 + _Z**2 / n) * (share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5
    return Accuracy(share, middle - reach, min(1.0, middle + reach), n, n)


def false_alarm_rate(live: Accuracy, test: Accuracy) -> float:
    """How often two such intervals leave each other although both accuracies are the same."""
    from scipy.stats import norm

    widths = [one.high - one.low for one in (live, test)]
    apart = sum(widths) / (sum(width**2 for width in widths) ** 0.5 or 1.0)
    return float(2 * norm.sf(_Z * apart))
