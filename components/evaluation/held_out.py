"""The rows that evaluation judges: tokens, labels and texts of a split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.labels import SENTIMENTS, LabelSet, labels_of_file
from components.shared.records.reviews import PREPARED_SCHEMA, TRAINING_SET_SCHEMA


@dataclass(frozen=True)
class HeldOut:
    """One split, row by row."""

    input_ids: list[list[int]]  # token ids of each row, special tokens included, unpadded
    classes: NDArray[np.int64]  # true class index [n]
    # columns `review_id`, `title`, `review_body`, `product_category`, `rating`; one row each, in
    # the same order
    reviews: pa.Table
    labels: LabelSet = SENTIMENTS

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Token count of each row [n]."""
        return np.fromiter(map(len, self.input_ids), dtype=np.int64, count=len(self))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.input_ids)

    def first(self, rows: int) -> "HeldOut":
        """The first rows; by `review_id`, which has nothing to do with the content."""
        return HeldOut(
            self.input_ids[:rows], self.classes[:rows], self.reviews.slice(0, rows), self.labels
        )


def read_held_out(training_set: Path, prepared: Path, split: str) -> HeldOut:
    """Read one split of the training set and the texts that belong to it.

    Returns:
        The split's rows in the order of the training set.

    Raises:
        UserError: If a review of the split is missing among the prepared ones.
    """
    rows = read_parquet(
        training_set, TRAINING_SET_SCHEMA, ["review_id", "split", "sentiment", "input_ids"]
    )
    rows = rows.filter(pc.field("split") == split)
    texts = read_parquet(
        prepared,
        PREPARED_SCHEMA,
        ["review_id", "title", "review_body", "product_category", "rating", "split"],
    ).filter(pc.field("split") == split)
    place = pc.index_in(rows["review_id"], value_set=texts["review_id"])
    if place.null_count:
        lost = rows["review_id"].filter(pc.is_null(place))[0]
        raise UserError(
            f"review {lost} of the {split} split is in {training_set} but not in {prepared}; "
            "the two come from different runs: run prepare and features again"
        )
    labels = labels_of_file(training_set)
    return HeldOut(
        input_ids=rows["input_ids"].to_pylist(),
        classes=labels.index_of(rows["sentiment"].to_numpy()),
        reviews=texts.drop_columns(["split"]).take(place),
        labels=labels,
    )
