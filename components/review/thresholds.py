"""For each confidence below which answers are reviewed: how many that are, and what error is left.

Reviewing an answer costs the same whether it was right or wrong, so the question is how many errors
are found for how many looks. The table is made from the test split, whose truth is known.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)

HALF = 0.5
RULE = (
    "the lowest threshold below which at least half of the model's errors lie, by its own "
    "calibrated probabilities"
)


@dataclass(frozen=True)
class Threshold:
    """What reviewing the answers below one confidence does."""

    threshold: float
    volume: float  # share of the answers that people see
    found: float  # share of the model's errors among them, expected by calibrated probability
    remaining: float  # error rate after the review, expected; reviewers err too
    remaining_seen: float  # the same as counted on the test split
    error_below: float  # how often an answer below it is wrong, as counted; 0 if there is none
    looks: float | None  # answers that people see for each error of the model, as counted

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def threshold_table(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], error: float
) -> list[Threshold]:
    """One entry for each of `THRESHOLDS`; see `below_threshold`."""
    return [below_threshold(confidence, right, error, threshold) for threshold in THRESHOLDS]


def below_threshold(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], error: float, threshold: float
) -> Threshold:
    """What reviewing the answers below a threshold does.

    Args:
        confidence: [n] calibrated probability of the answer, of at least one row of the test split.
        right: [n] whether the answer was right.
        error: How often a reviewer errs.
        threshold: The confidence.
    """
    wrong, below = 1 - confidence, confidence < threshold
    errors, volume = int((below & ~right).sum()), float(below.mean())
    return Threshold(
        threshold=threshold,
        volume=volume,
        found=float(wrong[below].sum() / max(wrong.sum(), 1e-12)),
        remaining=float(wrong[~below].sum() / len(wrong) + error * volume),
        remaining_seen=float((~below & ~right).mean() + error * volume),
        error_below=errors / max(1, int(below.sum())),
        looks=int(below.sum()) / errors if errors else None,
    )


def chosen_threshold(table: list[Threshold]) -> Threshold:
    """The entry that `RULE` chooses; the last one where none finds half of the errors."""
    return next((row for row in table if row.found >= HALF), table[-1])


def resolved_error(error: float, people: int) -> float:
    """How often the majority of so many people is wrong who err alone; a tie is a tossed coin."""
    from scipy.stats import binom

    wrong = binom(people, error)
    tie = wrong.pmf(people // 2) / 2 if people % 2 == 0 else 0.0
    return float(wrong.sf(people // 2) + tie)
