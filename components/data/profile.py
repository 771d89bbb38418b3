"""What the report shows of a data set, counted batch by batch in bounded memory."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.data.checks import MAX_BODY_CHARACTERS
from components.shared.records.labels import SENTIMENTS, STARS, LabelSet
from components.shared.records.reviews import REVIEW_SCHEMA

_TOP_CATEGORIES = 50
_LENGTH_EDGES = (0, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 800, 1_000, 2_000, 5_000)
_AGE_EDGES = (0, 20, 30, 40, 50, 60, 70, 80)
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class Profile:
    """Counts over the rows that ingest writes; `lengths` [n] counts texts of n characters."""

    def __init__(self, labels: LabelSet = SENTIMENTS) -> None:
        self._named = tuple(zip(labels.names, labels.values, strict=True))
        names = dict(zip(labels.values, labels.names, strict=True))
        self._classes = {stars: names[value] for stars, value in labels.of_rating.items()}
        self._missing: Counter[str] = Counter()
        self._ratings: Counter[int | None] = Counter()
        self._cells: Counter[tuple[str | None, int | None]] = Counter()
        self.lengths = np.zeros(MAX_BODY_CHARACTERS + 1, dtype=np.int64)
        self._ages = np.zeros(151, dtype=np.int64)

    def add(self, reviews: pa.Table) -> None:
        """Count rows in the form of `REVIEW_SCHEMA`."""
        for name in REVIEW_SCHEMA.names:
            self._missing[name] += reviews[name].null_count
        self._ratings.update(reviews["rating"].to_pylist())
        categories, sentiments = reviews["product_category"], reviews["sentiment"]
        self._cells.update(zip(categories.to_pylist(), sentiments.to_pylist(), strict=True))
        # Composing a cleaned text (NFC) may lengthen it beyond what ingest allows.
        lengths = np.minimum(pc.utf8_length(reviews["review_body"]), MAX_BODY_CHARACTERS)
        self.lengths += np.bincount(lengths, minlength=self.lengths.size)
        ages = reviews["age"].drop_null().to_numpy()
        self._ages += np.bincount(ages, minlength=self._ages.size)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready counts; histograms are lists, in the order in which to draw them."""
        sentiments: Counter[int | None] = Counter()
        categories: Counter[str | None] = Counter()
        for (category, sentiment), count in self._cells.items():
            sentiments[sentiment] += count
            categories[category] += count
        ranked = sorted(categories.items(), key=lambda item: (-item[1], str(item[0])))
        return {
            "ratings": [
                {"rating": r, "count": self._ratings[r], "class": self._classes.get(r)}
                for r in STARS
            ],
            "sentiments": {name: sentiments[value] for name, value in self._named},
            "unlabelled": sentiments[None],
            "categories": [
                {
                    "category": category,
                    "count": count,
                    "classes": {name: self._cells[category, value] for name, value in self._named},
                }
                for category, count in ranked[:_TOP_CATEGORIES]
            ],
            "categories_in_all": sum(category is not None for category in categories),
            "missing": {name: self._missing[name] for name in REVIEW_SCHEMA.names},
            "text_length": distribution(self.lengths, "characters", _LENGTH_EDGES),
            "age": distribution(self._ages, "years", _AGE_EDGES),
        }


def distribution(counts: np.ndarray, unit: str, edges: Sequence[int]) -> dict[str, Any]:
    """Exact lower quantiles and a histogram of values counted in [values].

    Bins hold their lower edge; the last one is open. Without values there are no quantiles.
    """
    total = int(counts.sum())
    ranks = {f"p{100 * q:g}": max(1, int(np.ceil(q * total))) for q in _QUANTILES if total}
    below = np.cumsum(counts)
    return {
        "unit": unit,
        "quantiles": {name: int(np.searchsorted(below, rank)) for name, rank in ranks.items()},
        "histogram": [
            {"from": low, "below": high, "count": int(counts[low:high].sum())}
            for low, high in zip(edges, (*edges[1:], None), strict=True)
        ],
    }
