"""Scores of probabilities: ROC curves, log loss, Brier score, calibration.

Calibration asks whether a probability of 0.8 comes true eight times in ten.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.records.decision import Calibration, fit_temperature, probabilities

logger = logging.getLogger(__name__)

BINS = 15
TEMPERATURE_TOLERANCE = 0.15
"""Largest log-ratio of the two temperatures that sampling explains."""


@dataclass(frozen=True)
class ReliabilityPoint:
    """Rows of similar confidence."""

    confidence: float  # their mean probability of the most probable class
    accuracy: float  # share of them where that class is the true one
    rows: int


def calibration_check(
    logits: NDArray[np.float32],
    truth: NDArray[np.int64],
    calibration: Calibration,
    validation_logits: NDArray[np.float32],
    validation_truth: NDArray[np.int64],
) -> dict[str, Any]:
    """Calibration on test before and after temperature scaling, and a check of the temperature.

    Args:
        logits: [n, classes] of the test split.
        truth: True class index [n].
        calibration: The model folder's.
        validation_logits: [m, classes] of validation, to fit the temperature again.
        validation_truth: True class index [m].
    """
    folded, temperature = calibration.folded_temperature, calibration.whole_temperature
    refitted = fit_temperature(validation_logits, validation_truth) * folded
    agrees = abs(np.log(temperature / refitted)) <= TEMPERATURE_TOLERANCE
    if not agrees:
        logger.warning(
            "the model folder says temperature %.3f, but validation gives %.3f",
            *(temperature, refitted),
        )
    return {
        "temperature": temperature,
        "temperature_refitted": refitted,
        "temperature_agrees": bool(agrees),
        "decision_offsets": list(calibration.decision_offsets),
        "bins": BINS,
        "binning": "bins of equally many rows, by the probability of the most probable class",
        "before": calibration_report(truth, probabilities(logits * folded, Calibration())),
        "after": calibration_report(truth, probabilities(logits, calibration)),
    }


def calibration_report(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, Any]:
    """Calibration error, log loss, Brier score and reliability points, JSON-ready."""
    points = reliability(truth, probabilities)
    return {
        "expected_calibration_error": expected_calibration_error(points),
        "log_loss": log_loss(truth, probabilities),
        "brier_score": brier_score(truth, probabilities),
        "reliability": [asdict(point) for point in points],
    }


def reliability(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = BINS
) -> list[ReliabilityPoint]:
    """Confidence against accuracy in bins of equally many rows, by rising confidence.

    Equal mass, not equal width: most reviews get a confidence above .9, and bins of equal width
    would leave all but one of them nearly empty (Nguyen & O'Connor 2015, "Posterior calibration
    and exploratory analysis for natural language processing models").

    Args:
        truth: True class index [n].
        probabilities: [n, classes]. The most probable class is judged: decision offsets move
            decisions, not probabilities.
        bins: Number of bins; at most one per row.
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


def log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log-probability of the true class [n], in nats."""
    of_truth = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())


def brier_score(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean squared distance to the true class, summed over classes (Brier 1950), 0 to 2."""
    corners = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - corners) ** 2).sum(axis=1).mean())


def roc_curves(
    truth: NDArray[np.int64], chances: NDArray[np.float64], names: Sequence[str]
) -> list[dict[str, Any]]:
    """ROC curve of each class against the rest, JSON-ready.

    Args:
        truth: True class index [n].
        chances: [n, classes].
        names: [classes].
    """
    return [
        {"name": name, **roc_curve_of(truth == index, chances[:, index])}
        for index, name in enumerate(names)
    ]


def roc_curve_of(
    belongs: NDArray[np.bool_], probability: NDArray[np.float64], most_points: int = 200
) -> dict[str, Any]:
    """ROC curve of one class against the rest.

    Args:
        belongs: [n], whether the row truly is of the class.
        probability: [n], predicted probability of the class.
        most_points: The curve is thinned to about this many points (the dashboard stores each).

    Returns:
        `auc` (0.5 is chance), `false_positive_rate` and `true_positive_rate` (ascending), and
        `threshold`: the probability from which a row counts as positive, descending and finite.
        `auc` is None and the lists are empty where all rows are of the class or none.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    names = ("false_positive_rate", "true_positive_rate", "threshold")
    if belongs.all() or not belongs.any():
        return {"auc": None, **{name: [] for name in names}}
    curve = roc_curve(belongs, probability)
    threshold = curve[2]
    # scikit-learn starts with an infinite threshold (nothing is positive), which JSON lacks; any
    # number above the largest probability means the same, and 1 is above every probability but 1.
    threshold[0] = max(1.0, float(np.nextafter(threshold[1], np.inf)))
    shown = np.unique(
        np.linspace(0, len(threshold) - 1, min(most_points, len(threshold))).round().astype(int)
    )
    return {
        "auc": float(roc_auc_score(belongs, probability)),
        **{name: values[shown].tolist() for name, values in zip(names, curve, strict=True)},
    }
