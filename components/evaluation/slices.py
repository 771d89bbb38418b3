"""Scores of parts of the test split: where the model is good and where it is not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.intervals import score_intervals
from components.evaluation.metrics import confusion_matrix

SMALLEST_SLICE = 30
OTHER = "other"


def slice_scores(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    names: Sequence[str],
    classes: int,
    *,
    smallest: int = SMALLEST_SLICE,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Accuracy and macro-F1 with intervals of each slice.

    Args:
        truth: True class index [n].
        predicted: Predicted class index [n].
        names: Slice of each row [n].
        classes: Number of classes.
        smallest: Slices with fewer rows are pooled as `other`: their scores would be noise.
        seed: Of the bootstrap.

    Returns:
        One entry per slice, the largest first, `other` last: `name`, `rows`, `pooled` (how many
        slices were pooled into it, 0 elsewhere), `accuracy`, `macro_f1`, `supports` per class.
    """
    labels = np.asarray(names, dtype=object)
    found, sizes = np.unique(labels, return_counts=True) if len(labels) else ([], [])
    small = {name for name, size in zip(found, sizes, strict=True) if size < smallest}
    groups = {
        str(name): labels == name
        for name, _ in sorted(
            zip(found, sizes, strict=True), key=lambda pair: (-int(pair[1]), pair[0])
        )
        if name not in small
    }
    if small:
        rows = np.isin(labels, list(small))
        # A real category that is itself called "other" belongs with the pooled ones.
        groups[OTHER] = rows | groups.pop(OTHER, np.zeros(len(labels), dtype=bool))
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
    """Name of the length bucket of each row: quarters of the rows by token count.

    Args:
        tokens: Token count of each row [n].
        buckets: Number of buckets; equal lengths share one, so there may be fewer.

    Returns:
        Names [n] such as "41 to 76 tokens".
    """
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
