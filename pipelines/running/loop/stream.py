"""Yesterday's reviews to train on, and today's to ask about, in which something has changed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.reviews import REVIEW_SCHEMA
from components.shared.records.splits import keyed_order, text_identity

HISTORY_SHARE = 0.55
_KEPT = 0.4


@dataclass(frozen=True)
class Stream:
    """What was divided, and the change that was planted in what is asked today."""

    history: int  # reviews to train on
    today: int  # reviews to ask about
    category: str  # the one that is asked about more often; '' where reviews have none
    category_before: float  # its share of the history
    category_today: float  # and of today's
    label: str  # the class that is more frequent today
    label_before: float
    label_today: float

    @property
    def sentence(self) -> str:
        """The change in words."""
        changes = [(f"{self.label} reviews", self.label_before, self.label_today)]
        if self.category:
            changes.insert(0, (self.category, self.category_before, self.category_today))
        parts = [
            f"{name} {100 * now:.0f} % instead of {100 * before:.0f} %"
            for name, before, now in changes
        ]
        return f"Planted in today's reviews: {' and '.join(parts)}"


def divide(reviews: Path, history: Path, today: Path, seed: int) -> Stream:
    """Divide ingested reviews by their texts, and plant a change in the second part.

    Of today's reviews only four in ten stay that are neither of the most frequent category nor of
    the lowest class, so that both are asked about more often than in training.

    Args:
        reviews: What ingest wrote.
        history: Parquet file to write: what the first model learns from, labels and all.
        today: Parquet file to write: what clients ask about. The labels in it are the truth that
            simulated people know; nothing else reads them.
        seed: Seed of the division.

    Raises:
        UserError: If there are too few labelled reviews to divide.
    """
    labels = labels_of_file(reviews)
    table = read_parquet(reviews, REVIEW_SCHEMA)
    table = table.filter(pc.is_valid(table["sentiment"]))
    if table.num_rows < 200:
        raise UserError(f"{table.num_rows} labelled reviews are too few for a loop; give 200")
    names = np.array([text_identity(body) for body in table["review_body"].to_pylist()], object)
    chance = np.array([keyed_order(name, seed) for name in names], np.uint64) / 2.0**64
    classes = labels.index_of(table["sentiment"].to_numpy().astype(np.int8))
    categories = np.array(table["product_category"].to_pylist(), object)
    past = chance < HISTORY_SHARE
    known, counts = np.unique(categories[past & (categories != None)], return_counts=True)  # noqa: E711
    category = str(known[counts.argmax()]) if len(known) else ""
    chosen = (categories == category) | (classes == 0)
    # The same number decides again, spread anew over what was not the past.
    later = (chance - HISTORY_SHARE) / (1 - HISTORY_SHARE)
    present = ~past & (chosen | (later < _KEPT))
    write_parquet(history, table.filter(pa.array(past)))
    write_parquet(today, table.filter(pa.array(present)))

    def shares(holds: NDArray[np.bool_]) -> tuple[float, float]:
        return float(holds[past].mean()), float(holds[present].mean())

    of_category, of_label = shares(categories == category), shares(classes == 0)
    return Stream(
        int(past.sum()), int(present.sum()), category, *of_category, labels.names[0], *of_label
    )
