"""TF-IDF of words and pairs of words, and a linear layer on them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.automl.candidate import Candidate, measured
from components.automl.sparse_folder import write_sparse_folder
from components.automl.task import Task
from components.shared.machine.errors import UserError
from components.shared.machine.linear_text import tfidf
from components.shared.machine.search_space import Parameter
from components.shared.records.sparse_model import TFIDF

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

_FEW_ROWS = 200
"""Below this a word that stands in one text counts too."""

_NEVER = -50.0
"""Logit of a class that training never showed."""

FIRST = {"loss": "log_loss", "alpha": 3e-5, "class_weight": "balanced", "ngrams": 2}

SEARCHED = (
    Parameter("loss", "categorical", choices=("log_loss", "modified_huber", "hinge")),
    Parameter("alpha", "double", 1e-5, 1e-3, distribution="logUniform"),
    Parameter("class_weight", "categorical", choices=("balanced", "none")),
    Parameter("ngrams", "int", 1, 3),
)


def fit(
    task: Task, parameters: Mapping[str, Any], seed: int, deadline: float, folder: Path
) -> None:
    """Train one linear model by stochastic gradients; it takes too little time to be broken off."""
    from sklearn.linear_model import SGDClassifier

    ngrams = int(parameters["ngrams"])
    matrix = vectorised(task, ngrams)[1]
    weight = None if parameters["class_weight"] == "none" else parameters["class_weight"]
    model = SGDClassifier(
        loss=parameters["loss"],
        alpha=float(parameters["alpha"]),
        class_weight=weight,
        random_state=seed,
        average=True,
    ).fit(matrix, task.training.classes)
    weights = np.zeros((matrix.shape[1], len(task.labels)), dtype=np.float32)
    bias = np.full(len(task.labels), _NEVER, dtype=np.float32)
    of_classes, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # One plane tells two classes apart.
        of_classes, intercepts = (
            np.concatenate([-one, one]) / 2 for one in (of_classes, intercepts)
        )
    weights[:, model.classes_], bias[model.classes_] = of_classes.T, intercepts
    write_linear_folder(folder, task, ngrams, weights, bias, {"candidate": "linear", **parameters})


def write_linear_folder(
    folder: Path,
    task: Task,
    ngrams: int,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    options: Mapping[str, Any],
) -> None:
    """Write the model folder of weights [terms, classes] and bias [classes] over TF-IDF."""
    vectorizer = vectorised(task, ngrams)[0]
    features = {
        "kind": TFIDF,
        "settings": {"ngram_range": [1, ngrams], "sublinear_tf": True},
        "terms": vectorizer.get_feature_names_out().tolist(),
    }
    numbers = {"weights": weights, "bias": bias, "idf": vectorizer.idf_}
    numbers = {name: one.astype(np.float32) for name, one in numbers.items()}
    write_sparse_folder(folder, task, features, numbers, options)


def vectorised(task: Task, ngrams: int) -> "tuple[TfidfVectorizer, csr_matrix]":
    """The vocabulary of the training rows, and the rows in it; made once for a task."""
    if ngrams not in task.kept:
        task.kept[ngrams] = _vectorised(task, ngrams)
    return task.kept[ngrams]


def _vectorised(task: Task, ngrams: int) -> "tuple[TfidfVectorizer, csr_matrix]":
    vectorizer = tfidf(ngrams, 1 if len(task.training) < _FEW_ROWS else 2)
    try:
        return vectorizer, vectorizer.fit_transform(task.training.texts)
    except ValueError as error:
        raise UserError(
            f"the training texts hold no word to learn from ({error}); name another text column"
        ) from None


CANDIDATE = Candidate(
    name="linear",
    about="TF-IDF of words and n-grams, linear model",
    cost=1,
    first=FIRST,
    searched=SEARCHED,
    estimate=measured(fit, FIRST),
    fit=fit,
)
