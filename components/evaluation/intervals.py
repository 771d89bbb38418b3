"""Bootstrap intervals of scores, by resampling confusion matrices instead of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import scores_of

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A score with its percentile interval."""

    value: float  # the score of the rows at hand
    low: float  # lower end of the interval
    high: float  # upper end of the interval

    def to_dict(self) -> dict[str, float]:
        """As JSON-ready values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def resampled_counts(counts: NDArray[np.int64], resamples: int, seed: int) -> NDArray[np.int64]:
    """Counts of each kind of row in bootstrap samples of the rows.

    Drawing n rows with replacement and counting how many of each kind came is one draw of a
    multinomial distribution with the observed shares, so the rows themselves are never touched:
    2,000 resamples of any number of rows cost milliseconds.

    Args:
        counts: How many rows of each kind there are, any shape, at least one row.
        resamples: Number of bootstrap samples.
        seed: Of the draws.

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


@dataclass(frozen=True)
class ScoreIntervals:
    """Scores of a confusion matrix with their intervals, JSON-ready by `to_dict`."""

    accuracy: Estimate
    macro_f1: Estimate
    balanced_accuracy: Estimate
    precision: tuple[Estimate, ...]
    recall: tuple[Estimate, ...]
    f1: tuple[Estimate, ...]

    def to_dict(self) -> dict[str, Any]:
        """The means; the per-class scores are written beside their class by evaluation."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "macro_f1": self.macro_f1.to_dict(),
            "balanced_accuracy": self.balanced_accuracy.to_dict(),
        }


def score_intervals(
    confusion: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> ScoreIntervals:
    """Scores of a confusion matrix with bootstrap intervals.

    Args:
        confusion: [classes, classes], rows are the truth, at least one row counted.
        resamples: Number of bootstrap samples.
        seed: Of the draws.

    Returns:
        Each score with its 95 % percentile interval.
    """
    # A class that a resample happens to miss stays in its macro mean as 0: leaving it out would
    # make the mean jump between different sets of classes.
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
        accuracy=single("accuracy"),
        macro_f1=single("macro_f1"),
        balanced_accuracy=single("balanced_accuracy"),
        precision=each("precision"),
        recall=each("recall"),
        f1=each("f1"),
    )
