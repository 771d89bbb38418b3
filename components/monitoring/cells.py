"""Two samples as counts of the same cells, and the test of whether both come from one source."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LEVELS: tuple[float, ...] = (
    *(0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999),
)
"""Quantiles of the reference at which numbers are cut into cells. A strange group of 2 % moves no
mean and no rank statistic; in a tail that holds 1 % of the reference it is seen at once."""

LEAST_EXPECTED = 5.0
"""Rows that a cell must be expected to hold in either sample, or it is merged with a neighbour."""

_OTHERS = "rare ones"


@dataclass(frozen=True)
class Cells:
    """Counts of the reference and of now, cell by cell."""

    names: tuple[str, ...]
    reference: NDArray[np.int64]  # [cells]
    now: NDArray[np.int64]  # [cells]
    edges: tuple[float, ...] = ()  # of numbers: the upper ends of all cells but the last

    @property
    def shares(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Share of each cell in the reference, and now."""
        return self.reference / self.reference.sum(), self.now / self.now.sum()

    @property
    def effect(self) -> float:
        """Total variation: the share of rows that would have to move for both to be alike."""
        before, now = self.shares
        return float(np.abs(now - before).sum() / 2)

    @property
    def effect_by_chance(self) -> float:
        """Total variation that two samples of this size have if nothing changed, on average."""
        p = (self.reference + self.now) / (self.reference.sum() + self.now.sum())
        sizes = 1 / self.reference.sum() + 1 / self.now.sum()
        return float(np.sqrt(2 / np.pi * p * (1 - p) * sizes).sum() / 2)

    @property
    def p_value(self) -> float:
        """Pearson's chi-squared test of two samples; the reference is a sample as well."""
        from scipy.stats import chi2

        both = np.stack([self.reference, self.now]).astype(float)
        if both.shape[1] < 2:
            return 1.0
        expected = both.sum(axis=1, keepdims=True) * both.sum(axis=0) / both.sum()
        statistic = ((both - expected) ** 2 / expected).sum()
        return float(chi2.sf(statistic, both.shape[1] - 1))


def cells_of_numbers(
    reference: NDArray[np.floating], now: NDArray[np.floating], least_width: float = 0.0
) -> Cells:
    """Numbers cut at the reference's deciles and far tails; neighbours are merged where few.

    Args:
        reference: Finite numbers.
        now: Finite numbers.
        least_width: Edges closer than this to the one before are left out.
    """
    edges: list[float] = []
    for edge in np.unique(np.quantile(reference, LEVELS, method="inverted_cdf")):
        # Such edges come with ties and with numbers that are known to no more digits.
        if not edges or edge - edges[-1] >= least_width:
            edges.append(float(edge))
    counts = [
        np.bincount(np.searchsorted(edges, sample), minlength=len(edges) + 1)
        for sample in (reference, now)
    ]
    groups = _neighbours(*counts)
    merged = [np.array([one[a:b].sum() for a, b in groups]) for one in counts]
    ends = tuple(edges[b - 1] for _, b in groups[:-1])
    return Cells(ranges(ends), *merged, ends)


def cells_of_names(reference: Sequence[str], now: Sequence[str]) -> Cells:
    """Names counted, by frequency in the reference.

    The rare ones are one cell together, or left out where even together they are few.
    """
    names, places = np.unique(np.array([*reference, *now], object).astype(str), return_inverse=True)
    before = np.bincount(places[: len(reference)], minlength=len(names))
    after = np.bincount(places[len(reference) :], minlength=len(names))
    few = _expected(before, after) < LEAST_EXPECTED
    order = [place for place in np.argsort(-before, kind="stable") if not few[place]]
    kept = tuple(str(names[place]) for place in order)
    counts = [one[order] for one in (before, after)]
    rest = np.array([before[few].sum()]), np.array([after[few].sum()])
    sizes = int(before.sum()), int(after.sum())
    if order and _expected(*rest, sizes)[0] < LEAST_EXPECTED:
        return Cells(kept, *counts)
    together = (np.concatenate(pair) for pair in zip(counts, rest, strict=True))
    return Cells((*kept, _OTHERS), *together)


def _expected(
    before: NDArray[np.int64], after: NDArray[np.int64], sizes: tuple[int, int] | None = None
) -> NDArray[np.float64]:
    """Rows of each cell that the smaller sample would hold if both came from one source."""
    sizes = sizes or (int(before.sum()), int(after.sum()))
    return (before + after) / sum(sizes) * min(sizes)


def _neighbours(before: NDArray[np.int64], after: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Runs of cells [first, last) of which each is expected to hold enough."""
    expected, groups, start, held = _expected(before, after), [], 0, 0.0
    for place, rows in enumerate(expected, start=1):
        held += rows
        if held >= LEAST_EXPECTED:
            groups.append((start, place))
            start, held = place, 0.0
    if start < len(expected):
        first = groups.pop()[0] if groups else 0
        groups.append((first, len(expected)))
    return groups


def ranges(
    ends: Sequence[float], form: Callable[[float], str] = "{:.4g}".format
) -> tuple[str, ...]:
    """What cells between such ends are called."""
    written = [form(end) for end in ends]
    if not written:
        return ("all",)
    between = [f"{a} to {b}" for a, b in pairwise(written)]
    return (f"up to {written[0]}", *between, f"above {written[-1]}")
