"""Where the model is good and where it is not: scores of slices, and the worst mistakes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.held_out import HeldOut
from components.shared.statistics.scores import SEED, confusion_matrix, score_intervals

SMALLEST_SLICE = 30
OTHER = "other"
LONGEST_TEXT = 1500


def slices_of(test: HeldOut, predicted: NDArray[np.int64]) -> dict[str, list[dict[str, Any]]]:
    """Scores per product category, per length, and with or without a title."""
    categories = [name or "no category" for name in test.reviews["product_category"].to_pylist()]
    titles = [
        "with title" if (title or "").strip() else "without title"
        for title in test.reviews["title"].to_pylist()
    ]
    named = {"category": categories, "length": length_slices(test.lengths), "title": titles}
    slices = {
        kind: slice_scores(test.classes, predicted, names, len(test.labels))
        for kind, names in named.items()
    }
    # Lengths read best from short to long.
    slices["length"].sort(key=lambda entry: _first_number(entry["name"]))
    return slices


def slice_scores(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    names: Sequence[str],
    classes: int,
    *,
    smallest: int = SMALLEST_SLICE,
    seed: int = SEED,
) -> list[dict[str, Any]]:
    """Accuracy and macro-F1 with intervals of each slice.

    True and predicted class indices below `classes` and the slice's name are given for each row,
    [n]. Slices with fewer rows than `smallest` are pooled as `other`: their scores would be noise.

    Returns:
        One entry per slice, the largest first, `other` last: `name`, `rows`, `pooled` (how many
        slices were pooled into it, 0 elsewhere), `accuracy`, `macro_f1`, `supports` per class.
    """
    labels = np.asarray(names, dtype=object)
    unique, sizes = np.unique(labels, return_counts=True) if len(labels) else ([], [])
    by_size = sorted(zip(sizes, unique, strict=True), key=lambda pair: (-int(pair[0]), pair[1]))
    small = [name for size, name in by_size if size < smallest]
    groups = {str(name): labels == name for size, name in by_size if size >= smallest}
    if small:
        # A real category that is itself called "other" belongs with the pooled ones.
        real = groups.pop(OTHER, np.zeros(len(labels), dtype=bool))
        groups[OTHER] = np.isin(labels, small) | real
    entries = []
    for name, rows in groups.items():
        confusion = confusion_matrix(truth[rows], predicted[rows], classes)
        scores = score_intervals(confusion, seed=seed)
        entries.append(
            {
                "name": name,
                "rows": int(rows.sum()),
                "pooled": len(small) if name == OTHER else 0,
                "accuracy": scores.accuracy.to_dict(),
                "macro_f1": scores.macro_f1.to_dict(),
                "supports": confusion.sum(axis=1).tolist(),
            }
        )
    return entries


def length_slices(tokens: NDArray[np.int64], buckets: int = 4) -> list[str]:
    """Name of the length bucket of each row, such as "41 to 76 tokens": quarters by token count."""
    if not len(tokens):
        return []
    edges = np.unique(np.quantile(tokens, np.linspace(0, 1, buckets + 1)[1:], method="lower"))
    bucket = np.searchsorted(edges, tokens, side="left")
    names = {}
    for number in np.unique(bucket):
        inside = tokens[bucket == number]
        low, high = int(inside.min()), int(inside.max())
        names[number] = f"{low} tokens" if low == high else f"{low} to {high} tokens"
    return [names[number] for number in bucket]


def token_counts(tokens: NDArray[np.int64]) -> dict[str, Any]:
    """Mean, largest, and a histogram in bins of equal width of token counts [n]."""
    width = max(1, int(np.ceil((tokens.max() + 1) / 16)))
    return {
        "mean": float(tokens.mean()),
        "largest": int(tokens.max()),
        "histogram": [
            {"from": number * width, "below": (number + 1) * width, "rows": rows}
            for number, rows in enumerate(np.bincount(tokens // width).tolist())
        ],
    }


def worst_mistakes(
    test: HeldOut, predicted: NDArray[np.int64], probabilities: NDArray[np.float64], most: int = 20
) -> list[dict[str, Any]]:
    """Wrong decisions, those with the most probability in the wrong class first, JSON-ready.

    Args:
        test: The judged rows.
        predicted: Decided class index [n].
        probabilities: Calibrated [n, classes].
        most: How many to list; texts beyond 1,500 characters are cut with an ellipsis.
    """
    of_decision = probabilities[np.arange(len(predicted)), predicted]
    wrong = np.flatnonzero(test.classes != predicted)
    chosen = wrong[np.argsort(-of_decision[wrong], kind="stable")][:most]
    entries = []
    for row, review in zip(chosen, test.reviews.take(chosen).to_pylist(), strict=True):
        body = review["review_body"]
        entries.append(
            {
                "review_id": review["review_id"],
                "title": review["title"],
                "review_body": body if len(body) <= LONGEST_TEXT else body[:LONGEST_TEXT] + "…",
                "product_category": review["product_category"],
                "rating": review["rating"],
                "truth": test.labels.names[test.classes[row]],
                "predicted": test.labels.names[predicted[row]],
                "probability": float(of_decision[row]),
                "probability_of_truth": float(probabilities[row, test.classes[row]]),
            }
        )
    return entries


def _first_number(name: str) -> float:
    """The number that a slice's name starts with; infinity where it does not."""
    word = name.split(" ", 1)[0]
    return float(word) if word.isdigit() else float("inf")
