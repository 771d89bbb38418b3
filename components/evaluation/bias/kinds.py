"""Rows of one facet counted by kind, and the bias metrics that follow from such counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.bias import metrics
from components.evaluation.bias.metrics import Array, Counts

Codes = NDArray[np.int64]
Measured = dict[str, Array]
"""Metrics by name, [groups, ...] or [groups, classes, ...]."""


@dataclass(frozen=True)
class Kinds:
    """How many rows are of each kind [kinds]: a group, a stratum, what was true and what came out.

    Attributes:
        groups: Number of groups; `group` holds their indices.
        strata: Number of strata that CDD compares within; `stratum` holds their indices.
        classes: Number of classes.
        outcome: Class index that the shares are of: the truth, or what was predicted.
        truth: True class index where the outcome is a prediction, else None.
        weight: How often each row of the kind counts: its copies in training.
        rows: How many rows are of the kind.
    """

    groups: int
    strata: int
    classes: int
    group: Codes
    stratum: Codes
    outcome: Codes
    truth: Codes | None
    weight: Codes
    rows: Codes

    def totals(self, rows: Array, *codes: tuple[Codes, int]) -> Array:
        """Rows [kinds, ...] summed to [*sizes, ...] by codes, each given with its size."""
        place, size = np.zeros(len(self.rows), np.int64), 1
        for code, number in codes:
            place, size = place * number + code, size * number
        totals = np.zeros((size, *rows.shape[1:]))
        if len(place):
            order = np.argsort(place, kind="stable")
            occupied, starts = np.unique(place[order], return_index=True)
            totals[occupied] = np.add.reduceat(rows[order], starts, axis=0)
        return totals.reshape(*(number for _, number in codes), *rows.shape[1:])

    def measured(self, rows: Array) -> Measured:
        """Every metric of weighted rows [kinds, ...]."""
        by_group, by_class = (self.group, self.groups), (self.outcome, self.classes)
        strata = self.totals(rows, by_group, (self.stratum, self.strata), by_class)
        outcomes = strata.sum(axis=1)
        found: Measured = {
            "CI": metrics.imbalance(outcomes),
            **metrics.divergences(outcomes, metrics.outside(outcomes)),
            "CDD": metrics.conditional_disparity(strata),
        }
        counts = self.counts(rows)
        outside = metrics.counts_outside(counts)
        found["DPL"] = metrics.SHARE.of(counts, outside)
        if self.truth is not None:
            found |= {name: rate.of(counts, outside) for name, rate in metrics.RATES.items()}
            found["AD, all classes"] = metrics.accuracy_difference(counts)
            found["GE"] = metrics.generalised_entropy(counts)
        return found

    def fewest(self) -> Measured:
        """The smallest count that a metric rests on, in the group or among the others."""
        counts = self.counts(np.where(self.weight > 0, self.rows, 0.0))
        outside = metrics.counts_outside(counts)

        def fewest(*names: str) -> Array:
            return np.minimum.reduce([side[n] for side in (counts, outside) for n in names])

        share = fewest(*metrics.SHARE.rests_on)
        occurs = counts["predicted"].sum(axis=0) > 0
        rarest = np.where(occurs, counts["predicted"], np.inf).min(axis=1)
        found = {"DPL": share, "CDD": share, "KL": rarest}
        if self.truth is not None:
            found |= {name: fewest(*rate.rests_on) for name, rate in metrics.RATES.items()}
            right = [side["hits"].sum(axis=1) for side in (counts, outside)]
            wrong = [side["misses"].sum(axis=1) for side in (counts, outside)]
            found["AD, all classes"] = np.minimum.reduce([*right, *wrong])
            found["GE"] = counts["wrong"]
        return found

    def counts(self, rows: Array) -> Counts:
        """Rows [kinds, ...] by group, class and, where there are predictions, what happened."""
        by_group, by_outcome = (self.group, self.groups), (self.outcome, self.classes)
        if self.truth is None:
            return metrics.counts_of_outcomes(self.totals(rows, by_group, by_outcome))
        return metrics.counts_of_confusion(
            self.totals(rows, by_group, (self.truth, self.classes), by_outcome)
        )
