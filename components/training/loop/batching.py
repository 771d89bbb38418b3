"""Batches of rows of like length, so that little is padded, in an order that a seed fixes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.training.loop.data import TokenisedReviews

POOL_BATCHES = 50
"""Rows are sorted by length among this many batches' worth drawn at random: enough for less than
5 % padding on reviews, few enough that the batches of two epochs differ."""


def epoch_batches(
    lengths: NDArray[np.int64],
    copies: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[NDArray[np.int64]]:
    """Row numbers of each batch of an epoch; every row comes exactly `copies` times.

    Rows are shuffled, sorted by length within pools of `POOL_BATCHES` batches, cut into batches,
    and the batches shuffled. The same seed and epoch give the same batches.

    Args:
        lengths: [n] tokens of each row.
        copies: [n] how often the epoch shows each row.
        batch_size: Rows in a batch; the last of a pool may have fewer.
        seed: Of the run.
        epoch: Counted from 0.
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


def kept_tokens(
    reviews: TokenisedReviews,
    rows: NDArray[np.int64],
    token_dropout: float,
    generator: np.random.Generator,
) -> list[NDArray[np.int32]]:
    """Token ids of some rows, with some tokens left out at random.

    Args:
        reviews: Where the rows come from.
        rows: [b] row numbers.
        token_dropout: Probability with which a token is left out; first and last stay, being the
            special tokens.
        generator: Draws which, row by row.
    """
    sequences = [reviews.row(row) for row in rows]
    if token_dropout == 0.0:
        return sequences
    kept = []
    for sequence in sequences:
        stays = generator.random(len(sequence)) >= token_dropout
        stays[[0, -1]] = True
        kept.append(sequence[stays])
    return kept


def padded(
    sequences: Sequence[NDArray[np.int32]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids of some reviews, filled up to the longest of them.

    Args:
        sequences: Token ids of each.
        pad_id: Fills the rows up; its positions are masked.

    Returns:
        Token ids [b, longest] and mask [b, longest], 1 where there is a token.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    tokens[mask] = np.concatenate(sequences)
    return tokens, mask.astype(np.int64)
