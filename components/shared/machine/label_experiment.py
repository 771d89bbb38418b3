"""What a change of the training labels does, by experiment: the linear model, with and without it.

All variants are judged on the same held-out rows, each by several seeds. Rows and seeds are
resampled together (a bootstrap of both), so that the interval of a difference covers the luck of
the rows and that of the seeds. Where several variants are tried, their intervals are so much wider
that all of them hold together with 95 % (Bonferroni): one of three is not to be lucky.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.linear_text import linear_classifier
from components.shared.statistics.scores import (
    CONFIDENCE,
    RESAMPLES,
    SEED,
    Estimate,
    percentile_interval,
    resampled_counts,
    scores_of,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SEEDS = 5


class Taught(NamedTuple):
    """What one training learns from: `weights` count in the loss."""

    rows: NDArray[np.int64]  # [k] rows of the training matrix
    classes: NDArray[np.int64]  # [k] class index of each
    weights: NDArray[np.float64]  # [k]


class Variant(NamedTuple):
    """One way to train: the features that it would have, and what it learns from."""

    training: "csr_matrix"  # features of the rows that `teach` chooses from
    held_out: "csr_matrix"  # [n, the same features] of the rows that judge
    teach: Callable[[int], Taught]  # by the seed of the training


@dataclass(frozen=True)
class Change:
    """A variant against the first one, which changes nothing."""

    name: str
    rows: int  # that it learns from
    macro_f1: float  # mean over the seeds
    difference: Estimate  # of macro-F1, from the first variant
    verdict: str  # "helps", "harms" or "has no proven effect": whether the interval leaves 0 out

    @property
    def in_words(self) -> str:
        """Such as "helps (macro-F1 +0.012, +0.002 to +0.021)"."""
        ends = (f"{x:+.3f}".replace("-", "\u2212") for x in asdict(self.difference).values())
        value, low, high = ends
        return f"{self.verdict} (macro-F1 {value}, {low} to {high})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def compare_variants(
    variants: Mapping[str, Variant],
    truth: NDArray[np.int64],
    classes: int,
    seed: int,
    alpha: float = 1e-4,
) -> list[Change]:
    """Train each variant by `SEEDS` seeds and compare them all with the first.

    Args:
        variants: By name; the first changes nothing.
        truth: [n] class index of the rows that judge.
        classes: Number of classes.
        seed: The first seed.
        alpha: Regularisation of the linear model.

    Returns:
        One entry for each variant, the first among them.
    """
    taught = {
        name: [variant.teach(seed + i) for i in range(SEEDS)] for name, variant in variants.items()
    }
    predicted = [
        linear_classifier(seed + i, alpha)
        .fit(variants[name].training[one.rows], one.classes, sample_weight=one.weights)
        .predict(variants[name].held_out)
        for name, several in taught.items()
        for i, one in enumerate(several)
    ]
    point, drawn = _macro_f1(truth, predicted, classes)
    point, drawn = point.reshape(-1, SEEDS), drawn.reshape(len(taught), SEEDS, -1)
    luck = np.random.default_rng(SEED).multinomial(SEEDS, [1 / SEEDS] * SEEDS, drawn.shape[-1])
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(taught) - 1)
    changes = []
    for place, (name, several) in enumerate(taught.items()):
        difference = point[place] - point[0]
        draws = ((drawn[place] - drawn[0]) * luck.T / SEEDS).sum(axis=0)
        estimate = Estimate(float(difference.mean()), *percentile_interval(draws, confidence))
        verdict = "helps" if estimate.low > 0 else "harms"
        if estimate.low <= 0 <= estimate.high:
            verdict = "has no proven effect"
        rows = round(float(np.mean([len(one.rows) for one in several])))
        changes.append(Change(name, rows, float(point[place].mean()), estimate, verdict))
    return changes


def _macro_f1(
    truth: NDArray[np.int64], predicted: Sequence[NDArray[np.int64]], classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Macro-F1 of several models [m], and of each on the same bootstrap samples [m, resamples]."""
    from scipy.sparse import csr_matrix

    # Rows on which truth and all models agree alike are one kind: drawing counts of kinds is
    # drawing rows.
    kinds, counts = np.unique(np.stack([truth, *predicted]), axis=1, return_counts=True)
    drawn = np.vstack([counts, resampled_counts(counts, RESAMPLES, SEED)])  # [1 + resamples, kinds]
    present = np.bincount(truth, minlength=classes) > 0
    scores = []
    for one in kinds[1:]:
        places = (np.arange(len(counts)), kinds[0] * classes + one)
        cells = csr_matrix((np.ones(len(counts)), places), shape=(len(counts), classes**2))
        confusion = np.asarray(drawn @ cells).reshape(-1, classes, classes)
        scores.append(scores_of(confusion, present).macro_f1)
    both = np.stack(scores)
    return both[:, 0], both[:, 1:]
