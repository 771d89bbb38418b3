"""Does a probability of .8 come true eight times in ten?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import brier_score, log_loss

BINS = 15


@dataclass(frozen=True)
class ReliabilityPoint:
    """Rows of like confidence."""

    confidence: float  # their mean probability of the most probable class
    accuracy: float  # the share of them where that class is the true one
    rows: int  # how many they are


def reliability(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = BINS
) -> list[ReliabilityPoint]:
    """Confidence against accuracy in bins of equally many rows.

    Equal mass, not equal width: most reviews get a confidence above .9, and bins of equal width
    would leave all but one of them nearly empty (Nguyen & O'Connor 2015, "Posterior calibration
    and exploratory analysis for natural language processing models").

    Args:
        truth: True class index [n].
        probabilities: [n, classes]. What is judged is the most probable class: decision offsets
            move decisions, not probabilities.
        bins: Number of bins; fewer where there are not as many rows.

    Returns:
        One point per bin, by rising confidence.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    order = np.argsort(confidence, kind="stable")
    return [
        ReliabilityPoint(float(confidence[rows].mean()), float(right[rows].mean()), len(rows))
        for rows in np.array_split(order, min(bins, len(order)))
        if len(rows)
    ]


def expected_calibration_error(points: list[ReliabilityPoint]) -> float:
    """Mean distance of confidence and accuracy over the rows (Naeini et al. 2015), 0 to 1."""
    rows = sum(point.rows for point in points)
    return sum(point.rows * abs(point.confidence - point.accuracy) for point in points) / rows


def calibration_report(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, Any]:
    """Calibration error, log loss, Brier score and reliability points, JSON-ready.

    Args:
        truth: True class index [n].
        probabilities: [n, classes].
    """
    points = reliability(truth, probabilities)
    return {
        "expected_calibration_error": expected_calibration_error(points),
        "log_loss": log_loss(truth, probabilities),
        "brier_score": brier_score(truth, probabilities),
        "reliability": [
            {"confidence": point.confidence, "accuracy": point.accuracy, "rows": point.rows}
            for point in points
        ],
    }
