"""From votes to labels: the majority vote and Snorkel's label model, side by side."""

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.labelling.voting import ABSTAIN
from components.shared.statistics.scores import confusion_matrix, scores_of

logger = logging.getLogger(__name__)

MAJORITY, LABEL_MODEL = "majority vote", "label model"

FEWEST_FUNCTIONS = 3
"""That the label model needs: it learns how good each is from how they agree."""

_FITTED_ROWS = 50_000
"""Reviews that the label model is fitted on; more would not change what it knows of a function."""

_FEWEST_DECISIONS = 20
"""Ratings of a class below which a method's probability for it is not fitted, but its precision."""


@dataclass(frozen=True)
class Decided:
    """What one method makes of the votes."""

    name: str
    classes: NDArray[np.int64]  # [n] class index, or `ABSTAIN` where nobody voted
    probability: NDArray[np.float64]  # [n] that it is right, by the ratings; 0 without votes
    accuracy: float  # on rated reviews with a vote
    macro_f1: float
    per_class: list[dict[str, float]]  # votes, precision, recall and f1 of each class


def majority_scores(votes: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the votes [n, classes] of each class; at a tie the more frequent class leads."""
    counts = np.stack([(votes == index).sum(axis=1) for index in range(len(shares))], axis=1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) + 1e-6 * shares


def label_model_scores(
    votes: NDArray[np.int64], classes: int, seed: int
) -> NDArray[np.float64] | None:
    """Probabilities [n, classes] by Snorkel's label model; None where it cannot be fitted.

    Ratner et al. 2019, "Training Complex Models with Multi-Task Weak Supervision". It is given no
    class balance: the true one would make it forget the rare classes.
    """
    if votes.shape[1] < FEWEST_FUNCTIONS:
        return None
    from snorkel.labeling.model import LabelModel

    model = LabelModel(cardinality=classes, verbose=False)  # never saved: it would be a pickle
    some = np.random.default_rng(seed).permutation(len(votes))[:_FITTED_ROWS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of SciPy, of how Snorkel calls it
            model.fit(votes[np.sort(some)], n_epochs=300, seed=seed, progress_bar=False)
            made = model.predict_proba(votes)
    except Exception as error:  # whatever it raises, there is the majority vote
        logger.warning("the label model could not be fitted (%s)", error)
        return None
    return made if np.isfinite(made).all() else None


def decided(
    name: str,
    scores: NDArray[np.float64],
    votes: NDArray[np.int64],
    rated: NDArray[np.bool_],
    truth: NDArray[np.int64],
) -> Decided:
    """Turn a method's scores into classes, and into probabilities that hold on the ratings.

    A method's own scores say little of how often it is right: for each class they are replaced by
    the share of right decisions at that score or a similar one (isotonic regression, Zadrozny &
    Elkan 2002).

    Args:
        name: Name of the method.
        scores: [n, classes].
        votes: [n, functions].
        rated: [n] whether the review has a rating that may be compared with.
        truth: [r] class index of those, in their order.
    """
    covered = (votes != ABSTAIN).any(axis=1)
    classes = np.where(covered, scores.argmax(axis=1), ABSTAIN)
    compared = (rated & covered)[rated]
    confusion = confusion_matrix(
        truth[compared], classes[rated & covered], number := scores.shape[1]
    )
    probability = np.zeros(len(scores))
    for index in range(number):
        here = classes == index
        right = (truth == index)[classes[rated] == index]
        probability[here] = _calibrated(scores[here, index], scores[here & rated, index], right)
    found = scores_of(confusion)
    per_class = [
        {"votes": int(confusion[:, index].sum()), "ratings": int(confusion[index].sum())}
        | {measure: float(getattr(found, measure)[index]) for measure in _MEASURES}
        for index in range(number)
    ]
    totals = float(found.accuracy), float(found.macro_f1)
    return Decided(name, classes, probability, *totals, per_class)


_MEASURES = ("precision", "recall", "f1")


def _calibrated(
    scores: NDArray[np.float64], known: NDArray[np.float64], right: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Share of right decisions [n] at each score, from scores whose decision is known."""
    from sklearn.isotonic import IsotonicRegression

    if len(known) < _FEWEST_DECISIONS:
        return np.full(len(scores), right.mean() if len(known) else 0.0)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(known, right)
    return fitted.predict(scores) if len(scores) else np.zeros(0)


def function_figures(
    names: list[tuple[str, str]],
    votes: NDArray[np.int64],
    rated: NDArray[np.bool_],
    truth: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Coverage, overlaps, conflicts and accuracy of each function, by Snorkel's definitions.

    `by_guessing` is the accuracy of as many votes for the same classes at random; a function that
    is no better is not used.
    """
    from snorkel.labeling import LFAnalysis

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of SciPy, of how Snorkel calls it
        found = LFAnalysis(votes)
        coverage, overlaps = found.lf_coverages(), found.lf_overlaps()
        conflicts = found.lf_conflicts()
    figures = []
    for place, (name, about) in enumerate(names):
        cast = votes[rated, place]
        voted = cast != ABSTAIN
        accuracy = float((cast == truth)[voted].mean()) if voted.any() else None
        guessing = float(shares[cast[voted]].mean()) if voted.any() else None
        figures.append(
            {"name": name, "about": about, "coverage": float(coverage[place])}
            | {"overlaps": float(overlaps[place]), "conflicts": float(conflicts[place])}
            | {"ratings": int(voted.sum()), "accuracy": accuracy, "by_guessing": guessing}
            | {"used": accuracy is not None and accuracy > (guessing or 0.0)}
        )
    return figures
