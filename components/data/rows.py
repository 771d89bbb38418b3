"""What splitting needs to know of the reviews, read in batches so that memory stays flat."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.data.clean import clean
from components.data.corrections import HeldOut
from components.data.reading import iterate_rows
from components.shared.machine.errors import UserError
from components.shared.records.forgotten import without_forgotten
from components.shared.records.labels import LabelSet
from components.shared.records.reviews import LABELLED_SCHEMA, WEAK, with_label_source
from components.shared.records.splits import TRAIN, keyed_order, text_identity


class Rows(NamedTuple):
    """What splitting needs to know of each labelled row: some 30 bytes."""

    places: NDArray[np.int64]  # [n] place of the row in the reviews file
    texts: NDArray[np.uint64]  # [n] keyed hash of its text
    ids: NDArray[np.uint64]  # [n] keyed hash of its id
    classes: NDArray[np.int8]  # [n] class index
    categories: NDArray[np.int32]  # [n] category code
    weak: NDArray[np.bool_]  # [n] whether its label is weak

    def only(self, kept: NDArray[np.bool_]) -> "Rows":
        """The rows that are kept [n]."""
        return Rows(*(column[kept] for column in self))

    def joined(self, more: "Rows") -> "Rows":
        """These rows and then the others."""
        return Rows(*map(np.concatenate, zip(self, more, strict=True)))


def iterate_reviews(path: str | Path, labels: LabelSet) -> Iterator[pa.Table]:
    """Read reviews a batch at a time.

    They are in `LABELLED_SCHEMA`, whether ingest wrote the file or weak supervision. Reviews that
    were deleted on request since are left out.
    """
    return iterate_rows(
        path,
        LABELLED_SCHEMA.names,
        lambda table: without_forgotten(with_label_source(table, labels)),
        holds="reviews",
        remedy="ingest them",
    )


def survey(
    reviews: str | Path, seed: int, cleaning: dict[str, bool], labels: LabelSet
) -> tuple[Rows, int, int, dict[str | None, int]]:
    """What splitting needs, the number of all rows and of those without a label, category codes."""
    codes: dict[str | None, int] = {}
    parts: list[Rows] = []
    first = unlabelled = 0
    for table in iterate_reviews(reviews, labels):
        sentiments = table["sentiment"].to_pylist()
        bodies = cleaned(table["review_body"], cleaning)
        unlabelled += table["sentiment"].null_count
        used = [i for i, s in enumerate(sentiments) if s is not None and bodies[i]]
        texts = [keyed_order(text_identity(bodies[i]), seed) for i in used]
        ids = table["review_id"].to_pylist()
        categories = table["product_category"].to_pylist()
        sources = table["label_source"].to_pylist()
        parts.append(
            Rows(
                np.array([first + i for i in used], np.int64),
                np.array(texts, np.uint64),
                np.array([keyed_order(ids[i], seed) for i in used], np.uint64),
                labels.index_of(np.array([sentiments[i] for i in used], np.int8)).astype(np.int8),
                np.array([codes.setdefault(categories[i], len(codes)) for i in used], np.int32),
                np.array([sources[i] == WEAK for i in used], np.bool_),
            )
        )
        first += table.num_rows
    if not parts:
        raise UserError(f"{reviews} has no rows; ingest data first")
    return Rows(*map(np.concatenate, zip(*parts, strict=True))), first, unlabelled, codes


def held_out(
    reviews: str | Path,
    places: NDArray[np.int64],
    splits: NDArray[np.int8],
    cleaning: dict[str, bool],
    labels: LabelSet,
) -> Iterator[HeldOut]:
    """The reviews of validation and test, with cleaned texts."""
    chosen, first = places[splits != TRAIN], 0
    of_place = splits[splits != TRAIN]
    for table in iterate_reviews(reviews, labels):
        low, high = np.searchsorted(chosen, [first, first + table.num_rows])
        used = table.take(pa.array(chosen[low:high] - first))
        titles = cleaned(used["title"], cleaning)
        columns = (
            used["review_id"].to_pylist(),
            of_place[low:high].tolist(),
            used["sentiment"].to_pylist(),
            [title or None for title in titles],
            cleaned(used["review_body"], cleaning),
        )
        yield from map(HeldOut, *columns)
        first += table.num_rows


def rows_of(
    added: list[dict[str, Any]],
    first: int,
    codes: dict[str | None, int],
    seed: int,
    labels: LabelSet,
) -> Rows:
    """What balancing needs of reviews that follow those of the file."""
    texts = [keyed_order(text_identity(row["review_body"]), seed) for row in added]
    ids = [keyed_order(row["review_id"], seed) for row in added]
    categories = [codes.setdefault(row["product_category"], len(codes)) for row in added]
    sentiments = np.array([row["sentiment"] for row in added], np.int8)
    return Rows(
        first + np.arange(len(added)),
        np.array(texts, np.uint64),
        np.array(ids, np.uint64),
        labels.index_of(sentiments).astype(np.int8),
        np.array(categories, np.int32),
        np.zeros(len(added), np.bool_),
    )


def cleaned(column: pa.ChunkedArray, cleaning: dict[str, bool]) -> list[str]:
    """The texts of a column after `clean`; empty where there is none."""
    return [clean(text or "", **cleaning) for text in column.to_pylist()]
