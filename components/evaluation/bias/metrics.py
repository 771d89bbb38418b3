"""Bias metrics from counts of rows: each group against all other rows, each class against the rest.

Formulas and signs are those of SageMaker Clarify, but nothing is collapsed to two classes, and what
is undefined is NaN: no 0/0 becomes 0. Arrays are [groups, classes, ...], or [groups, ...] for what
concerns all classes at once; what follows are resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = dict[str, Array]
"""Rows by what happened to a class: [groups, classes, ...]."""


@dataclass(frozen=True)
class Rate:
    """A metric that compares a rate of the group with that of all others.

    Attributes:
        above: The rows that the rate counts, by a name of `Counts`.
        below: The rows that it counts them among, or that it relates them to.
        direction: 1 for others minus group, -1 for group minus others, 0 for group over others.
    """

    above: str
    below: str
    direction: int

    def of(self, group: Counts, others: Counts) -> Array:
        """The metric [groups, classes, ...]."""
        inside, outside = (ratio(side[self.above], side[self.below]) for side in (group, others))
        return self.direction * (outside - inside) if self.direction else ratio(inside, outside)

    @property
    def rests_on(self) -> tuple[str, str]:
        """The counts that must not be small for the rate to say anything."""
        return self.above, _REST.get((self.above, self.below), self.below)


SHARE = Rate("predicted", "rows", 1)
"""DPL, or DPPL where the outcome is the prediction."""

RATES: Mapping[str, Rate] = {
    "DI": Rate("predicted", "rows", 0),
    "AD": Rate("right", "rows", 1),
    "RD": Rate("hits", "actual", 1),
    "SD": Rate("rests", "not actual", -1),
    "DAR": Rate("hits", "predicted", 1),
    "DRR": Rate("rests", "not predicted", -1),
    "DCA": Rate("actual", "predicted", 1),
    "DCR": Rate("not actual", "not predicted", -1),
    "TE": Rate("misses", "false alarms", -1),
}

_REST = {
    ("predicted", "rows"): "not predicted",
    ("right", "rows"): "wrong",
    ("hits", "actual"): "misses",
    ("rests", "not actual"): "false alarms",
    ("hits", "predicted"): "false alarms",
    ("rests", "not predicted"): "misses",
}
"""What of the rate's denominator it does not count."""


def ratio(above: Array, below: Array) -> Array:
    """Above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)


def counts_of_outcomes(outcomes: Array) -> Counts:
    """Counts from rows by group and class [groups, classes, ...]."""
    rows = np.broadcast_to(outcomes.sum(axis=1, keepdims=True), outcomes.shape)
    return {"rows": rows, "predicted": outcomes, "not predicted": rows - outcomes}


def counts_of_confusion(confusion: Array) -> Counts:
    """Counts from rows by group, true class and predicted class [groups, classes, classes, ...]."""
    hits = np.moveaxis(np.diagonal(confusion, axis1=1, axis2=2), -1, 1)
    actual = confusion.sum(axis=2)
    counts = counts_of_outcomes(confusion.sum(axis=1))
    misses, false_alarms = actual - hits, counts["predicted"] - hits
    rests = counts["rows"] - actual - false_alarms
    return counts | {
        "actual": actual,
        "not actual": counts["rows"] - actual,
        "hits": hits,
        "misses": misses,
        "false alarms": false_alarms,
        "rests": rests,
        "right": hits + rests,
        "wrong": misses + false_alarms,
    }


def counts_outside(counts: Counts) -> Counts:
    """The same counts of all rows outside each group."""
    return {name: outside(rows) for name, rows in counts.items()}


def outside(rows: Array) -> Array:
    """Rows [groups, ...] of all groups but each."""
    return rows.sum(axis=0) - rows


def imbalance(outcomes: Array) -> Array:
    """CI: (others - group) / all rows, [groups, ...]."""
    rows = outcomes.sum(axis=1)
    everything = np.broadcast_to(rows.sum(axis=0), rows.shape)
    return ratio(everything - 2 * rows, everything)


def divergences(group: Array, others: Array) -> dict[str, Array]:
    """KL, JS, Lp (p = 2), TVD and KS between the class shares of two sides, [groups, ...] each.

    The counts of each side are [groups, classes, ...]. KL is NaN where the group lacks a class that
    the others have: it would be infinite.
    """
    of_group, of_others = _shares(group), _shares(others)
    apart, middle = np.abs(of_others - of_group), (of_others + of_group) / 2
    return {
        "KL": _kullback_leibler(of_others, of_group),
        "JS": (_kullback_leibler(of_others, middle) + _kullback_leibler(of_group, middle)) / 2,
        "Lp": np.sqrt((apart**2).sum(axis=1)),
        "TVD": apart.sum(axis=1) / 2,
        "KS": apart.max(axis=1),
    }


def _shares(outcomes: Array) -> Array:
    return ratio(outcomes, np.broadcast_to(outcomes.sum(axis=1, keepdims=True), outcomes.shape))


def _kullback_leibler(of: Array, against: Array) -> Array:
    against = np.where(against > 0, against, np.where(of > 0, np.nan, 1.0))
    return (of * np.log(np.where(of > 0, of, 1.0) / against)).sum(axis=1)


def accuracy_difference(counts: Counts) -> Array:
    """AD on all classes: accuracy of the others minus that of the group, [groups, ...]."""
    right, rows = counts["hits"].sum(axis=1), counts["rows"][:, 0]
    return ratio(outside(right), outside(rows)) - ratio(right, rows)


def generalised_entropy(counts: Counts) -> Array:
    """GE with alpha 2 among the rows of each group, [groups, classes, ...].

    A row's benefit is 1 where the answer is right, 2 for a false alarm and 0 for a miss.
    """
    mean = ratio(counts["rows"] + counts["false alarms"] - counts["misses"], counts["rows"])
    square = ratio(counts["rows"] + 3 * counts["false alarms"] - counts["misses"], counts["rows"])
    return (ratio(square, mean**2) - 1) / 2


def conditional_disparity(strata: Array) -> Array:
    """CDD: the group's share of the rejected rows minus that of the accepted ones, within strata.

    A stratum counts by its rows; one whose rows are all accepted or all rejected says nothing.

    Args:
        strata: Rows [groups, strata, classes, ...].

    Returns:
        [groups, classes, ...].
    """
    accepted = strata.sum(axis=0)  # [strata, classes, ...]
    rows = np.broadcast_to(accepted.sum(axis=1, keepdims=True), accepted.shape)
    telling = (accepted > 0) & (accepted < rows)
    weight = np.where(telling, rows, 0.0)
    for_accepted = weight / np.where(telling, accepted, 1.0)
    for_rejected = weight / np.where(telling, rows - accepted, 1.0)
    rejected = strata.sum(axis=2, keepdims=True) - strata
    apart = np.einsum("gsc...,sc...->gc...", rejected, for_rejected)
    apart -= np.einsum("gsc...,sc...->gc...", strata, for_accepted)
    return ratio(apart, np.broadcast_to(weight.sum(axis=0), apart.shape))
