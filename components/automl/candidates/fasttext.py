"""fastText on sparse matrices: the mean of the vectors of words and n-grams, and a softmax.

Joulin et al. 2016. Training is the published one: a step after each text. Steps of several texts
are no faster here, and diverge where the texts share few words.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.automl.candidate import Candidate, OutOfTimeError, measured
from components.automl.sparse_folder import write_sparse_folder
from components.automl.task import Task
from components.shared.machine.search_space import Parameter
from components.shared.records.fasttext_features import FastTextFeatures, words_of
from components.shared.records.sparse_model import FASTTEXT
from components.shared.statistics.class_weights import class_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FIRST = {
    **{"word_ngrams": 2, "min_count": 2, "min_n": 0, "max_n": 0},
    **{"dimensions": 16, "learning_rate": 1.0, "epochs": 5, "class_weight": "sqrt"},
}

SEARCHED = (
    Parameter("word_ngrams", "int", 1, 3),
    Parameter("min_count", "int", 1, 5),
    Parameter("max_n", "discrete", choices=(0, 0, 5)),
    Parameter("dimensions", "discrete", choices=(8, 16, 32)),
    Parameter("learning_rate", "double", 0.2, 1.5, distribution="logUniform"),
    Parameter("epochs", "int", 3, 10),
    Parameter("class_weight", "categorical", choices=("none", "sqrt", "balanced")),
)


def fit(
    task: Task, parameters: Mapping[str, Any], seed: int, deadline: float, folder: Path
) -> None:
    """Train, and write the folder; `OutOfTimeError` if the time is over between two epochs."""
    shape = tuple(int(parameters[name]) for name in ("word_ngrams", "min_count", "max_n"))
    if shape not in task.kept:
        words = vocabulary(task.training.texts, shape[1])
        features = FastTextFeatures(words, shape[0], min_n=3 if shape[2] else 0, max_n=shape[2])
        task.kept[shape] = features, features.matrix(task.training.texts)
    features, matrix = task.kept[shape]
    counts = np.bincount(task.training.classes, minlength=len(task.labels))
    weights = train(
        matrix,
        task.training.classes,
        class_weights(counts, parameters["class_weight"]),
        dimensions=int(parameters["dimensions"]),
        learning_rate=float(parameters["learning_rate"]),
        epochs=int(parameters["epochs"]),
        seed=seed,
        deadline=deadline,
    )
    write_sparse_folder(
        folder,
        task,
        {"kind": FASTTEXT, "settings": features.to_dict()},
        {"weights": weights, "bias": np.zeros(len(task.labels), dtype=np.float32)},
        {"candidate": "fasttext", **parameters},
    )


def vocabulary(texts: Sequence[str], min_count: int) -> list[str]:
    """Words that occur often enough, the most frequent first, as the program orders them."""
    counts = Counter(word for text in texts for word in words_of(text))
    return [word for word, count in counts.most_common() if count >= min_count]


def train(
    matrix: "csr_matrix",
    classes: NDArray[np.int64],
    loss_weights: NDArray[np.float32],
    *,
    dimensions: int,
    learning_rate: float,
    epochs: int,
    seed: int,
    deadline: float,
) -> NDArray[np.float32]:
    """Weights [features, classes] of a linear model: vectors times output layer, multiplied out.

    Each feature has a vector, a text the mean of them, and the rate falls in a straight line to 0.
    A feature that no row has gets no weight, where the program leaves it a random vector.

    Args:
        matrix: Shares of the features in each text, [n, features].
        classes: Class index of each text, [n].
        loss_weights: Weight of each class in the loss.
        dimensions: Length of the vectors.
        learning_rate: At the start.
        epochs: Passes over the rows.
        seed: Seed of the first vectors and of the order of the rows.
        deadline: A time of `time.time`.
    """
    random = np.random.default_rng(seed)
    present = np.unique(matrix.indices)
    narrow = matrix[:, present].tocsr()
    vectors = random.uniform(-1 / dimensions, 1 / dimensions, (len(present), dimensions))
    vectors = vectors.astype(np.float32)
    output = np.zeros((len(loss_weights), dimensions), dtype=np.float32)
    ends, numbers, shares = narrow.indptr, narrow.indices, narrow.data
    steps, step = epochs * len(classes), 0
    for _ in range(epochs):
        if time.time() > deadline:
            raise OutOfTimeError
        for row in random.permutation(len(classes)):
            here = slice(ends[row], ends[row + 1])
            own, share = numbers[here], shares[here]
            hidden = share @ vectors[own]
            logits = output @ hidden
            error = np.exp(logits - logits.max())
            error /= error.sum()
            error[classes[row]] -= 1.0
            error *= learning_rate * (1 - step / steps) * loss_weights[classes[row]]
            vectors[own] -= share[:, None] * (error @ output)
            output -= error[:, None] * hidden
            step += 1
    weights = np.zeros((matrix.shape[1], len(loss_weights)), dtype=np.float32)
    weights[present] = vectors @ output.T
    return weights


CANDIDATE = Candidate(
    name="fasttext",
    about="fastText: vectors of words and n-grams",
    cost=1,
    first=FIRST,
    searched=SEARCHED,
    estimate=measured(fit, FIRST),
    fit=fit,
)
