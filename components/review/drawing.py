"""Poisson sampling: each row is drawn by a coin of its own, whose probability is known.

That is what makes the answers worth more than corrections: weighted by 1 / probability they tell
how often the model is right on all rows, without bias (Horvitz & Thompson 1952). The coin of a row
follows from the row, the window and the seed (permanent random numbers, Brewer et al. 1972), so
that drawing again draws the same, whatever other rows have come since.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.shared.records.splits import keyed_order

LEAST_UNCERTAINTY = 0.05
"""Stands for the uncertainty of answers that are surer than 99.75 %: nobody's chance is 0."""


def uncertainty(confidence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation [n] of being right, √(p(1-p)), of answers with confidence p [n].

    Drawing in proportion to it makes the estimated accuracy as precise as so many items can
    (Neyman 1934).
    """
    p = np.clip(confidence, 0, 1)
    return np.maximum(np.sqrt(p * (1 - p)), LEAST_UNCERTAINTY)


def inclusion_probabilities(sizes: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """Probability [n] of each row, in proportion to its size > 0 and at most 1.

    Args:
        sizes: [n] above 0.
        expected: Rows to draw on average; all are drawn for sure where it is n or more.
    """
    if expected >= len(sizes):
        return np.ones(len(sizes))
    sure = np.zeros(len(sizes), bool)
    while True:
        rest = sizes[~sure].sum()
        made = np.where(sure, 1.0, sizes * ((expected - sure.sum()) / rest))
        beyond = ~sure & (made >= 1)
        if not beyond.any():
            return made
        sure |= beyond


def coins(identities: Sequence[str], draw: str, seed: int) -> NDArray[np.float64]:
    """Number [n] from 0 to 1 of each row in a draw; a row is drawn if it is below its probability.

    Args:
        identities: What each row is recognised by.
        draw: Name of the draw: another name, other numbers.
        seed: Another seed, other numbers.
    """
    numbers = [keyed_order(f"{draw}\n{identity}", seed) for identity in identities]
    return np.array(numbers, np.uint64) / 2.0**64


def either(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability [n] of being drawn by at least one of two independent draws."""
    return 1 - (1 - first) * (1 - second)
