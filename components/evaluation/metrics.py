"""Scores of decisions and probabilities; those of a confusion matrix work on stacks of them too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count of each pair of true and predicted class.

    Args:
        truth: True class index [n].
        predicted: Predicted class index [n].
        classes: Number of classes.

    Returns:
        [classes, classes]: rows are the truth, columns the prediction.
    """
    cells = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """Scores that follow from a confusion matrix [..., classes, classes].

    A ratio without rows below the line is 0, as in scikit-learn with `zero_division=0`.
    """

    accuracy: NDArray[np.float64]  # [...] share of rows predicted right
    macro_f1: NDArray[np.float64]  # [...] mean F1 of the classes that occur in the truth
    # [...] mean recall of the classes that occur in the truth
    balanced_accuracy: NDArray[np.float64]
    # [..., classes] share of right rows among those predicted as the class
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]  # [..., classes] share of right rows among those of the class
    f1: NDArray[np.float64]  # [..., classes] 2 TP / (2 TP + FP + FN)


def scores_of(confusion: NDArray[np.int64], present: NDArray[np.bool_] | None = None) -> Scores:
    """Scores of one confusion matrix or of a stack of them.

    Args:
        confusion: [..., classes, classes], rows are the truth.
        present: [classes], which classes the macro means run over; by default those with rows in
            the truth of any matrix of the stack. A class without rows has no recall to speak of,
            and counting it as 0 would punish the model for the data.

    Returns:
        The scores, of the leading shape of `confusion`.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    predicted = confusion.sum(axis=-2)
    if present is None:
        present = support.reshape(-1, support.shape[-1]).any(axis=0)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, support + predicted)
    return Scores(
        accuracy=_ratio(right.sum(axis=-1), support.sum(axis=-1)),
        macro_f1=f1[..., present].mean(axis=-1),
        balanced_accuracy=recall[..., present].mean(axis=-1),
        precision=_ratio(right, predicted),
        recall=recall,
        f1=f1,
    )


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> NDArray[np.float64]:
    """Above / below, 0 where nothing is below."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)


@dataclass(frozen=True)
class RocCurve:
    """One class against the rest."""

    false_positive_rate: list[float]  # [points], ascending, from 0 to 1
    true_positive_rate: list[float]  # [points], ascending, from 0 to 1
    # [points], probability of the class from which a row counts as positive; descending and finite
    threshold: list[float]
    auc: float  # area under the curve, of all points; 0.5 is chance


def roc_curve_of(
    belongs: NDArray[np.bool_], probability: NDArray[np.float64], most_points: int = 200
) -> RocCurve | None:
    """ROC curve of one class against the rest.

    Args:
        belongs: [n], whether the row truly is of the class.
        probability: [n], predicted probability of the class.
        most_points: The curve is thinned to about so many points (the dashboard stores each).

    Returns:
        The curve, or None where the rows are all of the class or none is.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    if belongs.all() or not belongs.any():
        return None
    false_positive, true_positive, threshold = roc_curve(belongs, probability)
    # scikit-learn starts with an infinite threshold (nothing is positive), which JSON lacks; any
    # number above the largest probability says the same, and 1 tops every probability but 1.
    threshold[0] = max(1.0, float(np.nextafter(threshold[1], np.inf)))
    keep = np.unique(
        np.linspace(0, len(threshold) - 1, min(most_points, len(threshold))).round().astype(int)
    )
    return RocCurve(
        false_positive_rate=false_positive[keep].tolist(),
        true_positive_rate=true_positive[keep].tolist(),
        threshold=threshold[keep].tolist(),
        auc=float(roc_auc_score(belongs, probability)),
    )


def log_loss(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean negative log-probability of the true class, in nats.

    Args:
        truth: True class index [n].
        probabilities: [n, classes].
    """
    of_truth = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())


def brier_score(truth: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Mean squared distance to the true class's corner, summed over classes (Brier 1950).

    Args:
        truth: True class index [n].
        probabilities: [n, classes].

    Returns:
        0 (perfect) to 2.
    """
    corners = np.eye(probabilities.shape[1])[truth]
    return float(((probabilities - corners) ** 2).sum(axis=1).mean())
