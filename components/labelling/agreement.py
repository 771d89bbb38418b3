"""Two linear models that learned from different rated reviews, and where they agree."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.labelling.folds import FOLDS
from components.shared.machine.linear_text import linear_classifier

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


SURE = 0.7
"""Least probability that both models have to give: where they waver, they abstain."""


def agreed_classes(
    matrix: "csr_matrix",
    rated: NDArray[np.int64],
    classes: NDArray[np.int64],
    folds: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Class index [n] on which two models agree and are sure, or -1.

    Each learns from one half of the rated rows. No row is judged by a model that learned from it:
    rated rows by models of the other folds, the others by models of all.

    Args:
        matrix: Features of all rows.
        rated: [r] the rows that have a rating.
        classes: [r] class index of those.
        folds: [r] fold of those, from `folds_of`.
        seed: Seed of the halves and of the models.
    """
    agreed = np.full(matrix.shape[0], -1)
    half = np.random.default_rng(seed).permutation(len(rated)) % 2 == 0
    unrated = np.setdiff1d(np.arange(matrix.shape[0]), rated)
    for fold in range(FOLDS + 1):  # the last one holds none of the rated rows
        judged = rated[folds == fold] if fold < FOLDS else unrated
        if not len(judged):
            continue
        answers = []
        for part in (half & (folds != fold), ~half & (folds != fold)):
            model = linear_classifier(seed).fit(matrix[rated[part]], classes[part])
            chances = model.predict_proba(matrix[judged])
            answers.append(np.where(chances.max(1) < SURE, -1, model.classes_[chances.argmax(1)]))
        agreed[judged] = np.where(answers[0] == answers[1], answers[0], -1)
    return agreed
