"""The training set in memory, and the batches in which training and validation read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet
from components.shared.machine.inference import shared_width
from components.shared.records.labels import SENTIMENTS, LabelSet, labels_of_file
from components.shared.records.reviews import TRAINING_SET_SCHEMA, WEAK

if TYPE_CHECKING:
    import pyarrow as pa

POOL_BATCHES = 50
"""Rows are sorted by length among this many batches' worth drawn at random: enough for less than
5 % padding on reviews, few enough that the batches of two epochs differ."""


@dataclass(frozen=True)
class TokenisedReviews:
    """Rows of one split.

    Attributes:
        tokens: Token ids of all rows, one after another, int32.
        starts: [n + 1] where each row begins in `tokens`; the last entry is their number.
        classes: [n] class index.
        ratings: [n] stars 1 to 5; 0 where the review has none.
        copies: [n] how often an epoch shows the row.
        weights: [n] what the row counts in the loss: 1, or how sure its weak label is; times the
            weight by which it was drawn for people to label.
        weak: [n] whether its label is weak.
        labels: The classes.
    """

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]
    classes: NDArray[np.int64]
    ratings: NDArray[np.int64]
    copies: NDArray[np.int64]
    weights: NDArray[np.float32]
    weak: NDArray[np.bool_]
    labels: LabelSet = SENTIMENTS

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

    @property
    def weak_share(self) -> float:
        """Share of the rows with a weak label, as an epoch shows them, copies counted."""
        return float(self.copies[self.weak].sum() / max(1, self.copies.sum()))

    @property
    def weighted(self) -> dict[str, float] | None:
        """Least, mean and greatest of the weights that differ from 1; None where none does.

        Weak labels count aside: `weak_share` tells of them.
        """
        found = self.weights[(self.weights != 1) & ~self.weak]
        if not len(found):
            return None
        figures = {"least": found.min(), "mean": found.mean(), "greatest": found.max()}
        return {"rows": len(found), **{name: float(figure) for name, figure in figures.items()}}

    def class_counts(self) -> NDArray[np.int64]:
        """[classes] rows of each class as an epoch shows them, copies counted."""
        counts = np.bincount(self.classes, weights=self.copies, minlength=len(self.labels))
        return counts.astype(np.int64)

    def check_fit(self, config: Any) -> None:
        """Raise `UserError` if a model of this configuration cannot read the tokens."""
        if self.tokens.max() >= config.vocab_size:
            raise UserError(
                f"the training set has token id {self.tokens.max()}, beyond the base model's "
                f"vocabulary of {config.vocab_size}; build the features with the same base model"
            )
        limit = getattr(config, "max_position_embeddings", None)
        if limit and "roberta" in config.model_type:
            limit -= config.pad_token_id + 1  # RoBERTa counts positions from there
        if limit and self.lengths.max() > limit:
            raise UserError(
                f"the training set has a review of {self.lengths.max()} tokens and the base "
                f"model reads {limit}; build the features with a smaller max_tokens"
            )


def read_training_set(path: str | Path) -> tuple[TokenisedReviews, TokenisedReviews]:
    """Read the training and the validation split of a file of `TRAINING_SET_SCHEMA`, in its order.

    The test split is not looked at.

    Raises:
        UserError: If the file lacks a column, a split is empty, the training rows lack a class, or
            a row holds no tokens or an impossible value.
    """
    import pyarrow.compute as pc

    columns = ["split", "sentiment", "rating", "copies", "input_ids"]
    columns += ["label_source", "label_probability", "weight"]
    table = read_parquet(path, TRAINING_SET_SCHEMA, columns)
    labels = labels_of_file(path)
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
                classes=labels.index_of(rows["sentiment"].to_numpy()),
                ratings=pc.fill_null(rows["rating"], 0).to_numpy().astype(np.int64),
                copies=rows["copies"].to_numpy().astype(np.int64),
                weights=_weights(rows, f"split {name} of {path}"),
                weak=pc.equal(rows["label_source"], WEAK).to_numpy(),
                labels=labels,
            )
        )
        _check(splits[-1], f"split {name} of {path}")
    training, validation = splits
    if validation.weak.any():
        raise UserError(f"{path} has weak labels in split validation; prepare the data again")
    absent = [labels.names[i] for i in np.flatnonzero(training.class_counts() == 0)]
    if absent:
        raise UserError(
            f"the training split of {path} shows no {' and no '.join(absent)} review; "
            "training needs some of each class"
        )
    return training, validation


def _weights(rows: "pa.Table", place: str) -> NDArray[np.float32]:
    """What each row [n] counts in the loss; `UserError` for what no row can count."""
    sure, weight = (rows[name].to_numpy() for name in ("label_probability", "weight"))
    if not (sure.min() > 0 and sure.max() <= 1):  # NaN lies nowhere.
        raise UserError(
            f"{place} has a label_probability that is not above 0 and up to 1; prepare the data "
            "again"
        )
    if not (weight.min() > 0 and np.isfinite(weight.max())):
        raise UserError(f"{place} has a weight that is not above 0; prepare the data again")
    return (sure * weight).astype(np.float32)


def _check(reviews: TokenisedReviews, place: str) -> None:
    """Raise `UserError` if a row breaks the contract."""
    if reviews.lengths.min() == 0:
        raise UserError(f"{place} has a row without tokens; build the features again")
    if reviews.tokens.min() < 0:
        raise UserError(f"{place} has a negative token id; build the features again")
    if reviews.classes.min() < 0 or reviews.classes.max() >= len(reviews.labels):
        values = ", ".join(map(str, reviews.labels.values))
        raise UserError(f"{place} has a sentiment other than {values}; prepare the data again")
    if reviews.ratings.min() < 0 or reviews.ratings.max() > 5:
        raise UserError(f"{place} has a rating other than 1 to 5; prepare the data again")
    if reviews.copies.min() < 0:
        raise UserError(f"{place} has a negative number of copies; prepare the data again")


def epoch_batches(
    lengths: NDArray[np.int64], copies: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Row numbers of each batch of an epoch, from 0; every row comes exactly `copies` times.

    Rows are shuffled, sorted by their lengths [n] within pools of `POOL_BATCHES` batches, cut into
    batches (the last of a pool may have fewer rows), and the batches shuffled. The same seed and
    epoch give the same batches.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(np.repeat(np.arange(len(lengths)), copies))
    batches = []
    for start in range(0, len(order), batch_size * POOL_BATCHES):
        pool = order[start : start + batch_size * POOL_BATCHES]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def length_batches(lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Row numbers of each batch when every row is to be read once, in order of length."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def drop_tokens(
    sequences: Sequence[NDArray[np.int32]], rate: float, generator: np.random.Generator
) -> list[NDArray[np.int32]]:
    """Leave tokens out at random, each with probability `rate`, but never the first or last.

    Those are the special tokens. The generator draws sequence by sequence.
    """
    if rate == 0.0:
        return list(sequences)
    shortened = []
    for sequence in sequences:
        stays = generator.random(len(sequence)) >= rate
        stays[[0, -1]] = True
        shortened.append(sequence[stays])
    return shortened


def padded(
    sequences: Sequence[NDArray[np.int32]], pad_id: int, widest: int
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Token ids of some reviews, filled up with `pad_id` to a width that many batches share.

    Returns:
        Token ids [b, width], where the width is `shared_width` of the longest, and a mask of the
        same shape, 1 where there is a token; None for the mask where nothing was filled up.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(shared_width(int(lengths.max()), widest)) < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    tokens[mask] = np.concatenate(sequences)
    return tokens, None if mask.all() else mask.astype(np.int64)
