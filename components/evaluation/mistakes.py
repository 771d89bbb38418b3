"""The mistakes that hurt most: wrong, and sure of it."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.records.labels import CLASS_NAMES

LONGEST_TEXT = 1500


def worst_mistakes(
    reviews: pa.Table,
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    most: int = 20,
) -> list[dict[str, Any]]:
    """Wrong decisions, those with the most probability in the wrong class first.

    Args:
        reviews: Columns `review_id`, `title`, `review_body`, `product_category`, `rating`; a row
            per prediction.
        truth: True class index [n].
        predicted: Decided class index [n].
        probabilities: Calibrated [n, classes].
        most: How many to list.

    Returns:
        JSON-ready entries; texts beyond 1,500 characters are cut with an ellipsis.
    """
    of_decision = probabilities[np.arange(len(predicted)), predicted]
    wrong = np.flatnonzero(truth != predicted)
    chosen = wrong[np.argsort(-of_decision[wrong], kind="stable")][:most]
    entries = []
    for row, review in zip(chosen, reviews.take(chosen).to_pylist(), strict=True):
        body = review["review_body"]
        entries.append(
            {
                "review_id": review["review_id"],
                "title": review["title"],
                "review_body": body if len(body) <= LONGEST_TEXT else body[:LONGEST_TEXT] + "…",
                "product_category": review["product_category"],
                "rating": review["rating"],
                "truth": CLASS_NAMES[truth[row]],
                "predicted": CLASS_NAMES[predicted[row]],
                "probability": float(of_decision[row]),
                "probability_of_truth": float(probabilities[row, truth[row]]),
            }
        )
    return entries
