"""Prepare: clean, label and split the reviews, and say how often training shows each."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.data.balance import BALANCES, copies_for_balance
from components.data.clean import clean, text_identity
from components.data.reviews_file import iterate_reviews
from components.data.split import TEST, TRAIN, assign_splits, keyed_order
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.reviews import PREPARED_SCHEMA, SPLITS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareSummary:
    """How the reviews were divided.

    Attributes:
        rows_in: Rows read; always rows + unlabelled + emptied.
        rows: Rows written, each labelled and in one split.
        unlabelled: Rows left out because they have neither rating nor sentiment.
        emptied: Rows left out because cleaning left no text.
        repeated_texts: Rows whose text (but for case, punctuation and white space) an earlier row
            has; they share its split.
        conflicting_texts: Texts that stand under more than one sentiment.
        splits: Per split: rows, rows of each class, rate of the most frequent class.
        majority_class: The most frequent class of the test split.
        majority_rate: Its rate there: the accuracy of a model that always answers it.
        copies: What balancing does: rows shown to training in all and by class, rows left out,
            and the largest number of copies of one row.
        options: The options that were given.
    """

    rows_in: int
    rows: int
    unlabelled: int
    emptied: int
    repeated_texts: int
    conflicting_texts: int
    splits: dict[str, dict[str, int | float]]
    majority_class: str
    majority_rate: float
    copies: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class _Rows:
    """What splitting needs to know of each row that stays: some 30 bytes.

    Attributes:
        places: [n] place of the row in the reviews file.
        texts: [n] keyed hash of its text.
        ids: [n] keyed hash of its id.
        classes: [n] class index.
        categories: [n] category code.
    """

    places: NDArray[np.int64]
    texts: NDArray[np.uint64]
    ids: NDArray[np.uint64]
    classes: NDArray[np.int8]
    categories: NDArray[np.int32]


def prepare(
    reviews: str | Path,
    prepared: str | Path,
    summary: str | Path,
    *,
    seed: int = 42,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    balance: str = "none",
    strip_html: bool = False,
    lowercase: bool = False,
) -> PrepareSummary:
    """Clean and split what ingest wrote.

    Reads the file twice, in batches: once for what splitting needs, once to write.

    Args:
        reviews: Parquet in the form of `REVIEW_SCHEMA`.
        prepared: Where to write Parquet in the form of `PREPARED_SCHEMA`.
        summary: Where to write the summary as JSON.
        seed: Another seed, another division; the order of rows plays no part.
        validation_share: Share of validation in each class, above 0 and up to 0.4.
        test_share: Share of test in each class, likewise.
        balance: One of `BALANCES`, for the training part alone.
        strip_html: See `clean`.
        lowercase: See `clean`.

    Returns:
        The summary that was written.

    Raises:
        UserError: If an option is out of bounds, no review has a label, or a sentiment is absent
            or has too few reviews to stand in every split.
    """
    if balance not in BALANCES:
        raise UserError(f"balance is {balance!r}; choose one of {', '.join(BALANCES)}")
    cleaning = {"strip_html": strip_html, "lowercase": lowercase}
    rows, rows_in, unlabelled = _survey(reviews, seed, cleaning)
    if not len(rows.places):
        raise UserError(
            f"none of the {rows_in} reviews in {reviews} has a rating or a sentiment; "
            "give data with a column Rating or sentiment"
        )
    splits = assign_splits(
        rows.texts, rows.classes, validation_share=validation_share, test_share=test_share
    )
    training = splits == TRAIN
    copies = np.ones(len(splits), dtype=np.int32)
    copies[training] = copies_for_balance(
        rows.classes[training], rows.categories[training], rows.ids[training], balance
    )
    options = {
        "seed": seed,
        "validation_share": validation_share,
        "test_share": test_share,
        "balance": balance,
        **cleaning,
    }
    made = _summarise(rows, rows_in, unlabelled, splits, copies, options)
    with replaced_when_whole(prepared) as draft, replaced_when_whole(summary) as summary_draft:
        _write(reviews, draft, rows.places, splits, copies, cleaning)
        write_json(summary_draft, asdict(made))
    logger.info(
        "divided %d reviews: %s; %d of them repeat a text; %d without a label left out",
        made.rows,
        ", ".join(f"{made.splits[name]['rows']} {name}" for name in SPLITS),
        made.repeated_texts,
        made.unlabelled,
    )
    return made


def _survey(reviews: str | Path, seed: int, cleaning: dict[str, bool]) -> tuple[_Rows, int, int]:
    """What splitting needs, the number of all rows and of those without a label."""
    codes: dict[str | None, int] = {}
    parts: list[_Rows] = []
    first = unlabelled = 0
    for table in iterate_reviews(reviews):
        sentiments = table["sentiment"].to_pylist()
        bodies = _cleaned(table["review_body"], cleaning)
        unlabelled += table["sentiment"].null_count
        stay = [i for i, s in enumerate(sentiments) if s is not None and bodies[i]]
        ids = table["review_id"].to_pylist()
        categories = table["product_category"].to_pylist()
        parts.append(
            _Rows(
                np.array([first + i for i in stay], np.int64),
                np.array([keyed_order(text_identity(bodies[i]), seed) for i in stay], np.uint64),
                np.array([keyed_order(ids[i], seed) for i in stay], np.uint64),
                np.array([sentiments[i] + 1 for i in stay], np.int8),
                np.array([codes.setdefault(categories[i], len(codes)) for i in stay], np.int32),
            )
        )
        first += table.num_rows
    if not parts:
        raise UserError(f"{reviews} has no rows; ingest data first")
    rows = _Rows(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.texts for part in parts]),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.categories for part in parts]),
    )
    return rows, first, unlabelled


def _cleaned(column: pa.ChunkedArray, cleaning: dict[str, bool]) -> list[str]:
    return [clean(text or "", **cleaning) for text in column.to_pylist()]


def _write(
    reviews: str | Path,
    draft: Path,
    places: NDArray[np.int64],
    splits: NDArray[np.int8],
    copies: NDArray[np.int32],
    cleaning: dict[str, bool],
) -> None:
    """Copy the rows at `places` with cleaned texts, their split and their copies."""
    names = np.array(SPLITS)
    first = 0
    with pq.ParquetWriter(draft, PREPARED_SCHEMA, compression="zstd") as writer:
        for table in iterate_reviews(reviews):
            low, high = np.searchsorted(places, [first, first + table.num_rows])
            kept = table.take(pa.array(places[low:high] - first))
            columns = {name: kept[name] for name in kept.column_names}
            columns["review_body"] = pa.array(_cleaned(kept["review_body"], cleaning))
            titles = pa.array(_cleaned(kept["title"], cleaning), pa.string())
            columns["title"] = pc.if_else(
                pc.equal(titles, ""), pa.scalar(None, pa.string()), titles
            )
            columns["split"] = pa.array(names[splits[low:high]])
            columns["copies"] = pa.array(copies[low:high])
            if kept.num_rows:
                writer.write_table(pa.table(list(columns.values()), schema=PREPARED_SCHEMA))
            first += table.num_rows


def _summarise(
    rows: _Rows,
    rows_in: int,
    unlabelled: int,
    splits: NDArray[np.int8],
    copies: NDArray[np.int32],
    options: dict[str, Any],
) -> PrepareSummary:
    texts, text_of_row = np.unique(rows.texts, return_inverse=True)
    classes_per_text = np.zeros((len(texts), len(CLASS_NAMES)), dtype=bool)
    classes_per_text[text_of_row, rows.classes] = True
    per_split = {}
    for index, name in enumerate(SPLITS):
        counts = np.bincount(rows.classes[splits == index], minlength=len(CLASS_NAMES))
        per_split[name] = {
            "rows": int(counts.sum()),
            **{label: int(n) for label, n in zip(CLASS_NAMES, counts, strict=True)},
            "majority_rate": float(counts.max() / counts.sum()),
        }
    training = splits == TRAIN
    shown = np.bincount(
        rows.classes[training], weights=copies[training], minlength=len(CLASS_NAMES)
    ).astype(int)
    majority = int(np.bincount(rows.classes[splits == TEST]).argmax())
    return PrepareSummary(
        rows_in=rows_in,
        rows=len(splits),
        unlabelled=unlabelled,
        emptied=rows_in - unlabelled - len(splits),
        repeated_texts=len(splits) - len(texts),
        conflicting_texts=int((classes_per_text.sum(axis=1) > 1).sum()),
        splits=per_split,
        majority_class=CLASS_NAMES[majority],
        majority_rate=per_split[SPLITS[TEST]]["majority_rate"],
        copies={
            "shown": int(shown.sum()),
            **{label: int(n) for label, n in zip(CLASS_NAMES, shown, strict=True)},
            "left_out": int((copies[training] == 0).sum()),
            "largest": int(copies[training].max()),
        },
        options=options,
    )
