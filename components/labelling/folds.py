"""Answers of the linear model for rows that it was not trained on."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.linear_text import linear_classifier

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import SGDClassifier

FOLDS = 5


class FewTexts(Exception):  # noqa: N818 (what it says is what the reviews are)
    """There are too few texts to judge some of them by the others; the words say of what."""


def check_enough(
    texts: NDArray[np.int64], classes: NDArray[np.int64], names: tuple[str, ...]
) -> None:
    """Raise `FewTexts` unless each class has a text for each fold; equal texts have one number."""
    pairs = np.unique(np.stack([classes, texts]), axis=1)
    counts = np.bincount(pairs[0], minlength=len(names))
    if counts.min() < FOLDS:
        few = int(counts.argmin())
        raise FewTexts(
            f"the training part has {counts[few]} {names[few]} reviews with different texts, and "
            f"{FOLDS} of each class are needed"
        )


def folds_of(texts: NDArray[np.int64], classes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Fold [n] of each row: classes spread evenly, and equal texts together.

    A text that stands under two labels must not teach the model its other label.
    """
    _, first, text_of_row = np.unique(texts, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    order = shuffled[np.argsort(classes[first][shuffled], kind="stable")]
    folds = np.empty(len(first), np.int64)
    folds[order] = np.arange(len(first)) % FOLDS
    return folds[text_of_row]


def sincere_classifier(seed: int) -> "SGDClassifier":
    """The linear model without class weights: its probabilities are those of the data as they are.

    With weights it would doubt every second review of a frequent class. Planted errors are found
    best with this little regularisation (`tests/benchmarks/bench_labels.py`).
    """
    return linear_classifier(seed, alpha=3e-5, class_weight=None)


def out_of_fold(
    matrix: "csr_matrix",
    classes: NDArray[np.int64],
    folds: NDArray[np.int64],
    number: int,
    seed: int,
) -> NDArray[np.float64]:
    """Probability of each of a number of classes [n, number], by a model of the other folds."""
    made = np.zeros((len(classes), number))
    for fold in range(FOLDS):
        held_out = folds == fold
        model = sincere_classifier(seed).fit(matrix[~held_out], classes[~held_out])
        made[np.ix_(held_out, model.classes_)] = model.predict_proba(matrix[held_out])
    return made
