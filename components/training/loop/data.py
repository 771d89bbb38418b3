"""The training set in memory: its splits as flat token arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.reviews import TRAINING_SET_SCHEMA


@dataclass(frozen=True)
class TokenisedReviews:
    """Rows of one split.

    Attributes:
        tokens: Token ids of all rows, one after another, int32.
        starts: [n + 1] where each row begins in `tokens`; the last entry is their number.
        classes: [n] class index, 0 to 2.
        ratings: [n] stars 1 to 5; 0 where the review has none.
        copies: [n] how often an epoch shows the row.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    classes: NDArray[np.int64]
    ratings: NDArray[np.int64]
    copies: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.classes)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """[n] tokens of each row."""
        return np.diff(self.starts)

    def row(self, index: int) -> NDArray[np.int32]:
        """Token ids of one row."""
        return self.tokens[self.starts[index] : self.starts[index + 1]]

    def class_counts(self) -> NDArray[np.int64]:
        """[3] rows of each class as an epoch shows them, copies counted."""
        return np.bincount(self.classes, weights=self.copies, minlength=len(CLASS_NAMES)).astype(
            np.int64
        )


def read_training_set(path: str | Path) -> tuple[TokenisedReviews, TokenisedReviews]:
    """Read the training and the validation split; the test split is not looked at.

    Args:
        path: Parquet file of `TRAINING_SET_SCHEMA`.

    Returns:
        Training rows, validation rows; both in the order of the file.

    Raises:
        UserError: If the file does not hold the contract's columns, a split is empty, a class is
            absent from the training rows, or a row holds no tokens or an impossible value.
    """
    import pyarrow.compute as pc

    columns = ["split", "sentiment", "rating", "copies", "input_ids"]
    table = read_parquet(path, TRAINING_SET_SCHEMA, columns)
    splits = []
    for name in ("train", "validation"):
        rows = table.filter(pc.equal(table["split"], name)).combine_chunks()
        if rows.num_rows == 0:
            raise UserError(f"{path} has no rows of split {name}; give more reviews")
        if rows["input_ids"].null_count or rows["sentiment"].null_count:
            raise UserError(f"{path} has rows of split {name} without tokens or sentiment")
        column = rows["input_ids"].combine_chunks()
        lengths = pc.list_value_length(column).to_numpy()
        splits.append(
            TokenisedReviews(
                tokens=column.flatten().to_numpy(),
                starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
                classes=rows["sentiment"].to_numpy().astype(np.int64) + 1,
                ratings=pc.fill_null(rows["rating"], 0).to_numpy().astype(np.int64),
                copies=rows["copies"].to_numpy().astype(np.int64),
            )
        )
        _check(splits[-1], f"split {name} of {path}")
    training, validation = splits
    absent = [CLASS_NAMES[i] for i in np.flatnonzero(training.class_counts() == 0)]
    if absent:
        raise UserError(
            f"the training split of {path} shows no {' and no '.join(absent)} review; "
            "training needs some of each class"
        )
    return training, validation


def _check(reviews: TokenisedReviews, place: str) -> None:
    """Raise `UserError` if a row breaks the contract."""
    if reviews.lengths.min() == 0:
        raise UserError(f"{place} has a row without tokens; build the features again")
    if reviews.tokens.min() < 0:
        raise UserError(f"{place} has a negative token id; build the features again")
    if reviews.classes.min() < 0 or reviews.classes.max() >= len(CLASS_NAMES):
        raise UserError(f"{place} has a sentiment other than -1, 0, 1; prepare the data again")
    if reviews.ratings.min() < 0 or reviews.ratings.max() > 5:
        raise UserError(f"{place} has a rating other than 1 to 5; prepare the data again")
    if reviews.copies.min() < 0:
        raise UserError(f"{place} has a negative number of copies; prepare the data again")
