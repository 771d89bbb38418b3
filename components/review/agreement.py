"""Krippendorff's alpha: how far people agree beyond chance, with an interval.

1 is perfect agreement, 0 what guessing by the shares of the answers would give. Two distances are
used: nominal, where any two answers are equally far apart, and interval, where -1 against 1 is
worse than 0 against 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.statistics.scores import RESAMPLES, SEED, Estimate, percentile_interval

LEAST_ITEMS = 10
"""Fewer items with two votes say nothing about agreement."""


@dataclass(frozen=True)
class Agreement:
    """Alpha of some items, by both distances; None where too few of them have two votes."""

    items: int  # with two votes or more
    votes: int  # on them
    interval: Estimate | None
    nominal: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        both = {"interval": self.interval, "nominal": self.nominal}
        alphas = {name: one and one.to_dict() for name, one in both.items()}
        return {"items": self.items, "votes": self.votes, **alphas}


def agreement(counts: NDArray[np.int64], values: NDArray[np.float64]) -> Agreement:
    """Alpha with 95 % bootstrap intervals; whole items are resampled.

    Args:
        counts: [items, classes] votes for each class.
        values: [classes] place of each class on the scale of the interval distance.
    """
    paired = counts[counts.sum(axis=1) >= 2]
    if len(paired) < LEAST_ITEMS or (paired.sum(axis=0) > 0).sum() < 2:
        return Agreement(len(paired), int(paired.sum()), None, None)
    # Items with the same votes are of one kind: drawing counts of kinds is drawing items.
    kinds, times = np.unique(paired, axis=0, return_counts=True)
    drawn = np.random.default_rng(SEED).multinomial(
        len(paired), times / times.sum(), size=RESAMPLES
    )
    gaps = np.subtract.outer(values, values) ** 2
    estimates = []
    for distance in (gaps, (gaps > 0).astype(float)):
        point = alpha(kinds, times[None], distance)[0]
        draws = alpha(kinds, drawn, distance)
        draws = draws[np.isfinite(draws)]  # a resample of one answer alone has no alpha
        estimates.append(Estimate(float(point), *percentile_interval(draws)))
    return Agreement(len(paired), int(paired.sum()), *estimates)


def alpha(
    kinds: NDArray[np.int64], times: NDArray[np.int64], distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Krippendorff's alpha of several samples [s]; NaN where all votes of a sample are alike.

    1 - observed / expected disagreement, both means of the distance of two votes: of one item, and
    of all (Krippendorff 2019, chapter 12).

    Args:
        kinds: [k, classes] votes of each kind of item, at least two of them.
        times: [s, k] how often each kind is in each sample.
        distance: [classes, classes], 0 on the diagonal.
    """
    votes = kinds.sum(axis=1)
    within = np.einsum("ka,ab,kb->k", kinds, distance, kinds) / (votes - 1)
    totals = times @ kinds  # [s, classes]
    number = totals.sum(axis=1)
    observed = times @ within / number
    expected = np.einsum("sa,ab,sb->s", totals, distance, totals) / (number * (number - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - observed / expected
