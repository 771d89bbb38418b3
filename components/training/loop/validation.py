"""How good logits are on the validation split, and the calibration that is fitted there."""

import numpy as np
from numpy.typing import NDArray

from components.shared.records.decision import Calibration, decide, fit_temperature, log_softmax
from components.shared.records.labels import CLASS_NAMES


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean over the classes of F1 = 2 TP / (2 TP + FP + FN); 0 for a class that never occurs."""
    scores = []
    for index in range(len(CLASS_NAMES)):
        right = np.sum((truth == index) & (predicted == index))
        true_or_predicted = np.sum(truth == index) + np.sum(predicted == index)
        scores.append(2 * right / true_or_predicted if true_or_predicted else 0.0)
    return float(np.mean(scores))


def score(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> dict[str, float]:
    """`validation_loss` (mean negative log-likelihood, nats), `accuracy` and `macro_f1`.

    Args:
        logits: [n, 3].
        classes: [n] true class indices.
    """
    log_probabilities = log_softmax(logits)
    predicted = log_probabilities.argmax(axis=1)
    return {
        "validation_loss": float(-log_probabilities[np.arange(len(classes)), classes].mean()),
        "accuracy": float(np.mean(predicted == classes)),
        "macro_f1": macro_f1(classes, predicted),
    }


def calibrate(
    logits: NDArray[np.float32], classes: NDArray[np.int64], *, tune_decisions: bool
) -> tuple[Calibration, dict[str, float]]:
    """Fit the calibration, and score what is decided with it; arguments as for `score`.

    Returns:
        The calibration; `validation_loss` of the calibrated probabilities, `accuracy` and
        `macro_f1` of the calibrated decisions.
    """
    temperature = fit_temperature(logits, classes)
    offsets = (0.0, 0.0, 0.0)
    if tune_decisions:
        offsets = tune_decision_offsets(logits, classes, temperature)
    calibration = Calibration(temperature, offsets)
    decided = decide(logits, calibration)
    return calibration, {
        "validation_loss": score(logits / temperature, classes)["validation_loss"],
        "accuracy": float(np.mean(decided == classes)),
        "macro_f1": macro_f1(classes, decided),
    }


def tune_decision_offsets(
    logits: NDArray[np.float32], classes: NDArray[np.int64], temperature: float
) -> tuple[float, float, float]:
    """Offsets of the log-probabilities that make macro-F1 highest on held-out rows.

    A grid search in steps of 0.05; the score is smoothed over neighbouring cells, because the best
    single cell of a jagged surface is luck. Positive's offset is 0.
    """
    from scipy.ndimage import uniform_filter

    log_probabilities = log_softmax(logits, temperature)
    grid = np.arange(-10, 31) * 0.05
    scores = np.array(
        [
            [
                macro_f1(
                    classes, (log_probabilities + np.array([negative, neutral, 0.0])).argmax(axis=1)
                )
                for neutral in grid
            ]
            for negative in grid
        ]
    )
    smooth = uniform_filter(scores, size=7, mode="nearest")
    best_negative, best_neutral = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return float(round(grid[best_negative], 2)), float(round(grid[best_neutral], 2)), 0.0
