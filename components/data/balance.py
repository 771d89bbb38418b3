"""Balancing of the training part: how often training shows each row."""

import numpy as np
from numpy.typing import NDArray

BALANCES: tuple[str, ...] = (
    "none",
    "undersample",
    "oversample",
    "undersample_by_category",
    "oversample_by_category",
)


def copies_for_balance(
    classes: NDArray[np.int8],
    categories: NDArray[np.int32],
    order: NDArray[np.uint64],
    balance: str,
) -> NDArray[np.int32]:
    """How often training shows each of its rows.

    `undersample` leaves rows out until every class has as many as the rarest, `oversample` shows
    rows again until every class has as many as the most frequent. With `_by_category` the same is
    done inside each category by itself. Categories that lack a class cannot be balanced alone:
    they are pooled; if the pool lacks one too, it joins the largest category.

    Args:
        classes: [n] class index of each training row; every class occurs.
        categories: [n] code of each row's category; rows without one share a code.
        order: [n] seeded random order: which rows go first where some are left out or shown once
            more than others.
        balance: One of `BALANCES`.

    Returns:
        [n] copies, 0 or more.
    """
    copies = np.ones(len(classes), dtype=np.int32)
    number = int(classes.max()) + 1
    if balance == "none":
        return copies
    by_category = balance.endswith("_by_category")
    parts = (
        _balanceable(classes, categories, number)
        if by_category
        else np.zeros(len(classes), np.int64)
    )
    cells = parts * number + classes
    _, cell_of_row, counts = np.unique(cells, return_inverse=True, return_counts=True)
    per_part = counts.reshape(-1, number)
    wanted = per_part.min(axis=1) if balance.startswith("under") else per_part.max(axis=1)
    target = np.repeat(wanted, number)
    whole, rest = np.divmod(target, counts)
    return (whole[cell_of_row] + (_rank_in(cell_of_row, order) < rest[cell_of_row])).astype(
        np.int32
    )


def _balanceable(
    classes: NDArray[np.int8], categories: NDArray[np.int32], number: int
) -> NDArray[np.int64]:
    """Category codes [n], merged so that each has every one of that number of classes."""
    _, parts = np.unique(categories, return_inverse=True)
    pool = parts.max() + 1
    counts = np.bincount(parts * number + classes, minlength=pool * number)
    counts = counts.reshape(pool, number)
    lacking = (counts == 0).any(axis=1)
    if not lacking.any():
        return parts
    if (counts[lacking].sum(axis=0) == 0).any() and not lacking.all():
        pool = np.where(lacking, -1, counts.sum(axis=1)).argmax()
    return np.where(lacking[parts], pool, parts)


def _rank_in(cells: NDArray[np.int64], order: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rank [n] of each row inside its cell by `order`, from 0."""
    sorted_rows = np.lexsort((order, cells))
    sizes = np.bincount(cells)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    ranks = np.empty(len(cells), dtype=np.int64)
    ranks[sorted_rows] = np.arange(len(cells)) - starts
    return ranks
