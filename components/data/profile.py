"""What a person wants to know about a data set, gathered batch by batch in bounded memory."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.data.checks import MAX_BODY_CHARACTERS
from components.shared.records.labels import CLASS_NAMES, SENTIMENTS
from components.shared.records.reviews import REVIEW_SCHEMA

_TOP_CATEGORIES = 50
_LENGTH_EDGES = (0, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 800, 1_000, 2_000, 5_000)
_AGE_EDGES = (0, 20, 30, 40, 50, 60, 70, 80)
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class Profile:
    """Counts over the rows that were kept."""

    def __init__(self) -> None:
        self._missing: Counter[str] = Counter()
        self._ratings: Counter[int | None] = Counter()
        self._cells: Counter[tuple[str | None, int | None]] = Counter()
        self._lengths = np.zeros(MAX_BODY_CHARACTERS + 1, dtype=np.int64)
        self._ages = np.zeros(151, dtype=np.int64)

    def add(self, reviews: pa.Table) -> None:
        """Count rows in the form of `REVIEW_SCHEMA`."""
        for name in REVIEW_SCHEMA.names:
            self._missing[name] += reviews[name].null_count
        self._ratings.update(reviews["rating"].to_pylist())
        self._cells.update(
            zip(
                reviews["product_category"].to_pylist(),
                reviews["sentiment"].to_pylist(),
                strict=True,
            )
        )
        lengths = pc.utf8_length(reviews["review_body"]).to_numpy()
        self._lengths += np.bincount(lengths, minlength=self._lengths.size)
        ages = reviews["age"].drop_null().to_numpy()
        self._ages += np.bincount(ages, minlength=self._ages.size)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values: histograms are lists, in the order in which to draw them."""
        sentiments: Counter[int | None] = Counter()
        categories: Counter[str | None] = Counter()
        for (category, sentiment), count in self._cells.items():
            sentiments[sentiment] += count
            categories[category] += count
        ranked = sorted(categories.items(), key=lambda item: (-item[1], str(item[0])))
        return {
            "ratings": [{"rating": r, "count": self._ratings[r]} for r in (1, 2, 3, 4, 5)],
            "sentiments": {
                name: sentiments[value] for name, value in zip(CLASS_NAMES, SENTIMENTS, strict=True)
            },
            "unlabelled": sentiments[None],
            "categories": [
                {
                    "category": category,
                    "count": count,
                    **{
                        name: self._cells[category, value]
                        for name, value in zip(CLASS_NAMES, SENTIMENTS, strict=True)
                    },
                }
                for category, count in ranked[:_TOP_CATEGORIES]
            ],
            "categories_in_all": sum(category is not None for category in categories),
            "missing": {name: self._missing[name] for name in REVIEW_SCHEMA.names},
            "text_length": {
                "unit": "characters",
                "quantiles": _quantiles(self._lengths),
                "histogram": _histogram(self._lengths, _LENGTH_EDGES),
            },
            "age": {
                "unit": "years",
                "quantiles": _quantiles(self._ages),
                "histogram": _histogram(self._ages, _AGE_EDGES),
            },
        }


def _quantiles(counts: np.ndarray) -> dict[str, int]:
    """Exact lower quantiles of values counted in [values]; empty where nothing was counted."""
    total = int(counts.sum())
    if total == 0:
        return {}
    upto = np.cumsum(counts)
    return {
        f"p{100 * q:g}": int(np.searchsorted(upto, max(1, int(np.ceil(q * total)))))
        for q in _QUANTILES
    }


def _histogram(counts: np.ndarray, edges: tuple[int, ...]) -> list[dict[str, int | None]]:
    """Counts between edges, lower edge included; the last bin is open."""
    uppers: tuple[int | None, ...] = (*edges[1:], None)
    return [
        {"from": low, "below": high, "count": int(counts[low:high].sum())}
        for low, high in zip(edges, uppers, strict=True)
    ]
