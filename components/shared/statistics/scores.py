"""Scores of a confusion matrix, or of a stack of them, with bootstrap intervals."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0
"""Seed of the bootstrap."""


def confusion_matrix(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Rows [classes, classes] by true class (row) and predicted class (column)."""
    cells = np.bincount(truth * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


@dataclass(frozen=True)
class Scores:
    """Scores that follow from a confusion matrix [..., classes, classes].

    A ratio with denominator 0 is 0, as in scikit-learn with `zero_division=0`.
    """

    accuracy: NDArray[np.float64]  # [...] share of rows predicted right
    macro_f1: NDArray[np.float64]  # [...] mean F1 of the classes that occur in the truth
    balanced_accuracy: NDArray[np.float64]  # [...] mean recall of those classes
    precision: NDArray[np.float64]  # [..., classes] share of right rows among those predicted so
    recall: NDArray[np.float64]  # [..., classes] share of right rows among those of the class
    f1: NDArray[np.float64]  # [..., classes] 2 TP / (2 TP + FP + FN)


def scores_of(confusion: NDArray[np.int64], present: NDArray[np.bool_] | None = None) -> Scores:
    """Scores of one confusion matrix or of a stack of them.

    Args:
        confusion: [..., classes, classes], rows are the truth.
        present: [classes], which classes the macro means run over; by default those with rows in
            the truth of any matrix of the stack. The recall of a class without rows is undefined,
            and counting it as 0 would punish the model for the data.
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
    """Above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(np.shape(below)), where=below > 0)


@dataclass(frozen=True)
class Estimate:
    """A score of the rows at hand with the ends of its percentile interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Value, low and high."""
        return asdict(self)


@dataclass(frozen=True)
class ScoreIntervals:
    """The scores of `Scores` for one confusion matrix, each with its interval."""

    accuracy: Estimate
    macro_f1: Estimate
    balanced_accuracy: Estimate
    precision: tuple[Estimate, ...]
    recall: tuple[Estimate, ...]
    f1: tuple[Estimate, ...]


def score_intervals(
    confusion: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = SEED
) -> ScoreIntervals:
    """Scores of a confusion matrix with 95 % bootstrap intervals.

    Args:
        confusion: [classes, classes], rows are the truth, at least one row counted.
        resamples: Number of bootstrap samples.
        seed: Seed of the draws.
    """
    # A class without rows in a resample counts as 0 in its macro mean: leaving it out would make
    # the mean jump between different sets of classes.
    present = confusion.sum(axis=1) > 0
    point = scores_of(confusion, present)
    drawn = scores_of(resampled_counts(confusion, resamples, seed), present)

    def single(name: str) -> Estimate:
        return Estimate(float(getattr(point, name)), *percentile_interval(getattr(drawn, name)))

    def each(name: str) -> tuple[Estimate, ...]:
        return tuple(
            Estimate(float(value), *percentile_interval(getattr(drawn, name)[:, index]))
            for index, value in enumerate(getattr(point, name))
        )

    return ScoreIntervals(
        *map(single, ("accuracy", "macro_f1", "balanced_accuracy")),
        *map(each, ("precision", "recall", "f1")),
    )


def resampled_counts(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Bootstrap samples [resamples, *counts.shape] of counts per kind of row, seeded.

    Drawing n rows with replacement and counting each kind is one draw of a multinomial
    distribution with the observed shares, so the rows themselves are never touched: 2,000
    resamples of any number of rows cost milliseconds.

    Returns:
        [resamples, *counts.shape].
    """
    total = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=resamples)
    return draws.reshape(resamples, *counts.shape)


def percentile_interval(
    draws: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Percentile interval of bootstrap draws [resamples] (Efron & Tibshirani 1993, chapter 13)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
