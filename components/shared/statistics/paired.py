"""Two models on the same rows: differences of their scores with intervals, and an exact test."""

import numpy as np
from numpy.typing import NDArray

from components.shared.statistics.scores import (
    RESAMPLES,
    SEED,
    Estimate,
    percentile_interval,
    resampled_counts,
    scores_of,
)


def paired_differences(
    truth: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], classes: int
) -> tuple[Estimate, Estimate]:
    """Macro-F1 and accuracy of the first model minus the second's, with paired 95 % intervals.

    Rows are resampled whole, so that what both models find hard cancels out: the intervals are
    narrower than those of the two scores by themselves. Class indices below `classes` are [n], of
    at least one row.
    """
    kinds = np.bincount((truth * classes + first) * classes + second, minlength=classes**3)
    counts = kinds.reshape(classes, classes, classes)  # [truth, first, second]
    present = counts.sum(axis=(1, 2)) > 0

    def differences(cells: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        one = scores_of(cells.sum(axis=-1), present)
        other = scores_of(cells.sum(axis=-2), present)
        return one.macro_f1 - other.macro_f1, one.accuracy - other.accuracy

    drawn = differences(resampled_counts(counts, RESAMPLES, SEED))
    macro_f1, accuracy = (
        Estimate(float(value), *percentile_interval(draws))
        for value, draws in zip(differences(counts), drawn, strict=True)
    )
    return macro_f1, accuracy


def mcnemar_p_value(only_first_right: int, only_second_right: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947): is either of two models right more often?

    Under the null hypothesis each row that only one of them gets right falls to either with equal
    chance, so the counts are binomial with p = 1/2. It is 1 without such rows.
    """
    from scipy.stats import binomtest

    discordant = only_first_right + only_second_right
    if discordant == 0:
        return 1.0
    return float(binomtest(only_first_right, discordant, 0.5).pvalue)
