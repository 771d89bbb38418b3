"""Explain a model: some answers to test reviews, its words over many of them, and the proof."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.explanations.deletion import deletion_test
from components.evaluation.explanations.importance import important_words
from components.evaluation.held_out import HeldOut, read_held_out
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.explainer import load_explainer
from components.shared.records.explanation import Explanation
from components.shared.records.model_logits import texts_of

logger = logging.getLogger(__name__)

ASKED_REVIEWS = 200
"""Test reviews that the model answers, to choose from them what is explained."""

MOST_EXAMPLES = 4
"""Single answers that are shown, of the right and of the wrong ones."""

_READABLE = range(8, 90)
"""Words of an example: enough to see something, and few enough to read."""


def explain_answers(
    model_folder: Path,
    training_set: Path,
    prepared: Path,
    explained_reviews: int,
    summary: Path,
    *,
    progress: bool = True,
) -> dict[str, Any]:
    """Explain answers to test reviews, equally many of each class, and write what was found.

    Args:
        model_folder: Model folder that training wrote.
        training_set: Parquet of TRAINING_SET_SCHEMA.
        prepared: Parquet of PREPARED_SCHEMA: the texts of the same reviews.
        explained_reviews: Number of reviews, 1 or more; about a third of a second each.
        summary: Where to write the summary as JSON.
        progress: Whether to show a progress bar.

    Returns:
        The content of `summary`.

    Raises:
        UserError: If a folder is not whole, there are no test reviews, or the model and the
            training set have other classes.
    """
    from tqdm import tqdm

    started = time.perf_counter()
    if explained_reviews < 1:
        raise UserError(f"explained_reviews is {explained_reviews}; explain one review at least")
    explainer = load_explainer(model_folder)
    test = read_held_out(training_set, prepared, "test")
    if not len(test):
        raise UserError(
            f"{training_set} has no test rows to explain; give more data or a larger test share"
        )
    if (names := explainer.class_names) != test.labels.names:
        raise UserError(
            f"{model_folder} answers {', '.join(names)}, but the training set has "
            f"{', '.join(test.labels.names)}; train on this training set"
        )
    test = test.first(max(ASKED_REVIEWS, 4 * explained_reviews))
    texts = texts_of(test.reviews)
    decided, chances = explainer.answers(texts)
    chosen = equally_many(decided, explained_reviews)
    mistakes = surest_mistakes(test.classes, decided, chances)
    rows = [*chosen, *(row for row in mistakes if row not in chosen)]
    logger.info("explaining %d of %d test reviews", len(rows), len(test))
    explained = {
        row: explainer.explain(texts[row])
        for row in tqdm(rows, unit=" reviews", disable=not progress)
    }
    sample = [explained[row] for row in chosen]
    errors = np.array([one.completeness_error for one in sample])
    right = _readable_right(chosen, test, decided, explained)
    content = {
        "classes": list(names),
        "method": sample[0].method,
        "explained": len(sample),
        "asked": len(test),
        "completeness_error": float(np.median(errors)),
        "largest_completeness_error": float(errors.max()),
        "deletion": deletion_test(sample, lambda left: explainer.answers(left)[1]),
        "important_words": important_words(sample, names),
        "right": [_example(explained[row], test, row) for row in right],
        "mistakes": [_example(explained[row], test, row) for row in mistakes],
        "seconds": time.perf_counter() - started,
    }
    write_json(summary, content)
    return content


def equally_many(classes: NDArray[np.int64], number: int) -> list[int]:
    """Rows of each class in turn, so many in all; where a class has no more, of the others."""
    order = np.argsort(classes, kind="stable")
    turn = np.empty(len(classes), dtype=np.int64)
    _, firsts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    turn[order] = np.arange(len(classes)) - np.repeat(firsts, counts)
    return np.lexsort((classes, turn))[:number].tolist()


def surest_mistakes(
    truth: NDArray[np.int64], decided: NDArray[np.int64], chances: NDArray[np.float64]
) -> list[int]:
    """Rows decided wrongly, those with the most probability in the wrong class first."""
    wrong = np.flatnonzero(truth != decided)
    sure = chances[wrong, decided[wrong]]
    return wrong[np.argsort(-sure, kind="stable")][:MOST_EXAMPLES].tolist()


def _readable_right(
    rows: list[int],
    test: HeldOut,
    decided: NDArray[np.int64],
    explained: dict[int, Explanation],
) -> list[int]:
    """Rows of right answers to show: those neither very short nor very long, if there are any."""
    right = [row for row in rows if test.classes[row] == decided[row]]
    right.sort(key=lambda row: len(explained[row].words) not in _READABLE)
    return right[:MOST_EXAMPLES]


def _example(explanation: Explanation, test: HeldOut, row: int) -> dict[str, Any]:
    """A single answer, JSON-ready."""
    truth = test.labels.names[test.classes[row]]
    review_id = test.reviews["review_id"][row].as_py()
    return {"review_id": review_id, "truth": truth, **explanation.to_dict()}
