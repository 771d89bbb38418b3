"""What is counted of every review, batch by batch, in memory that does not grow with the rows."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.data.checks import MAX_BODY_CHARACTERS, MAX_FIELD_CHARACTERS
from components.data.ingest import UNDATED
from components.data.profile import Profile, distribution
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import SPLITS, WEAK

_MOST_BINS = 20
_CLOSED = r"[\p{P}\p{S}]$"
_FOREIGN_BYTES = 1.5
"""Bytes a character, in UTF-8, from which most characters cannot be Latin letters."""

Days = Counter[tuple[date, int, int | None]]
"""Reviews by date, class value and rating."""


class Counts:
    """Counts over prepared reviews."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.profile = Profile(labels)
        self.rows = self.undated = self.weak = 0
        self.days: Days = Counter()
        # [n] texts of n characters that do not end with a mark: cut off, or written so.
        self.open_ends = np.zeros_like(self.profile.lengths)
        self._words = np.zeros(MAX_BODY_CHARACTERS + MAX_FIELD_CHARACTERS + 1, dtype=np.int64)
        self._cells: Counter[tuple[str, int]] = Counter()
        self._not_ascii = self._foreign = 0

    def add(self, prepared: pa.Table) -> None:
        """Count rows in the form of `PREPARED_SCHEMA`."""
        self.rows += prepared.num_rows
        self.profile.add(prepared)
        self.weak += pc.sum(pc.equal(prepared["label_source"], WEAK)).as_py() or 0
        bodies = prepared["review_body"]
        lengths = pc.utf8_length(bodies)
        at = np.minimum(lengths.filter(pc.invert(pc.match_substring_regex(bodies, _CLOSED))), 10**5)
        self.open_ends += np.bincount(at, minlength=self.open_ends.size)
        words = pc.add(_words(bodies), _words(prepared["title"])).to_numpy()
        self._words += np.bincount(words, minlength=self._words.size)
        self._not_ascii += pc.sum(pc.invert(pc.string_is_ascii(bodies))).as_py() or 0
        limit = pc.multiply(lengths, _FOREIGN_BYTES)
        foreign = pc.greater_equal(pc.binary_length(bodies), limit)
        self._foreign += pc.sum(foreign).as_py() or 0
        classes = prepared["sentiment"].to_pylist()
        self._cells.update(zip(prepared["split"].to_pylist(), classes, strict=True))
        dated = prepared.filter(pc.not_equal(prepared["event_timestamp"], pa.scalar(UNDATED)))
        self.undated += prepared.num_rows - dated.num_rows
        days = dated["event_timestamp"].cast(pa.date32()).to_pylist()
        known = (dated[name].to_pylist() for name in ("sentiment", "rating"))
        self.days.update(zip(days, *known, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready counts of the texts, the splits and what `Profile` counts."""
        return {
            "rows": self.rows,
            "weak_labels": self.weak,
            "splits": {
                split: self.labels.counted(
                    self._cells[split, value] for value in self.labels.values
                )
                for split in SPLITS
            },
            "profile": self.profile.to_dict(),
            "words": spread(self._words, "words"),
            "characters": {"not_ascii": self._not_ascii, "mostly_not_latin": self._foreign},
        }


def spread(counts: NDArray[np.int64], unit: str) -> dict[str, Any]:
    """Mean, exact quantiles and a histogram of values counted in [values]; its bins fit them."""
    total = int(counts.sum())
    if not total:
        return {"unit": unit, "mean": None, "quantiles": {}, "histogram": []}
    # A few values far above the others share the last bin, which is open.
    common = int(np.searchsorted(np.cumsum(counts), 0.995 * total))
    step = next(n for n in _steps() if n * _MOST_BINS > common)
    edges = range(0, common + 1, step)
    mean = float(np.dot(np.arange(len(counts)), counts) / total)
    return {"mean": mean} | distribution(counts, unit, edges)


def _steps() -> Iterator[int]:
    size = 1
    while True:
        yield from (size, 2 * size, 5 * size)
        size *= 10


def _words(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words of each cleaned text, between which one space stands; 0 where there is none."""
    spaces = pc.add(pc.count_substring(texts, " "), 1)
    return pc.fill_null(pc.if_else(pc.equal(texts, ""), 0, spaces), 0)
