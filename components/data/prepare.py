"""Prepare: clean, label and split the reviews, and say how often training shows each."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.data.balance import BALANCES, copies_for_balance
from components.data.clean import clean
from components.data.corrections import (
    NONE,
    Corrections,
    as_reviews,
    read_corrections,
    sort_out,
)
from components.data.rows import Rows, cleaned, held_out, iterate_reviews, rows_of, survey
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, write_json
from components.shared.machine.options import Options, option
from components.shared.records.known_words import known_words
from components.shared.records.labels import LabelSet, labels_of_file
from components.shared.records.masking import Masker
from components.shared.records.reviews import (
    PREPARED_SCHEMA,
    SPLITS,
)
from components.shared.records.splits import (
    TEST,
    TRAIN,
    assign_splits,
    keyed_order,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareOptions(Options, called="prepare option"):
    """How to clean and divide the reviews; `assign_splits` checks the shares."""

    seed: int = option(42, "seed of the splits; the order of rows does not matter", 0, 2**31 - 1)
    validation_share: float = option(0.1, "share of validation in each class")
    test_share: float = option(0.1, "share of test in each class")
    balance: str = option("none", "balancing of the training part alone", choices=BALANCES)
    strip_html: bool = option(False, "remove tags and resolve entities, see `clean`")
    lowercase: bool = option(False, "fold to lower case, see `clean`")
    mask_texts: bool = option(False, "mask personal data for all that follows, see `masking`")

    @property
    def cleaning(self) -> dict[str, bool]:
        """The keyword arguments of `clean`."""
        return {"strip_html": self.strip_html, "lowercase": self.lowercase}


@dataclass(frozen=True)
class PrepareSummary:
    """How the reviews were divided."""

    # rows read; with those added from review: rows + unlabelled + emptied + weak_left_out
    rows_in: int
    rows: int  # rows written, each labelled and in one split
    weak: int  # rows among them with a weak label, all in train
    weak_left_out: int  # rows with a weak label and the text of a validation or test row
    unlabelled: int  # rows left out because neither rating nor sentiment gives them a class
    emptied: int  # rows left out because cleaning left no text
    # labels that people gave: rows added to train, known to the data (the feature store has their
    # label), with the text of a validation or test row, and disputes about test rows
    reviewed: dict[str, int]
    # rows whose text (but for case, punctuation and white space) an earlier row has; they share its
    # split
    repeated_texts: int
    conflicting_texts: int  # texts that occur under more than one sentiment
    # per split: rows, in `classes` those of each class, rate of the most frequent class
    splits: dict[str, dict[str, Any]]
    classes: list[str]  # names in the order of their index
    majority_class: str  # the most frequent class of the test split
    majority_rate: float  # its rate there: the accuracy of a model that always answers it
    # what balancing does: rows shown to training in total and by class, rows left out, and the
    # largest number of copies of one row
    copies: dict[str, Any]
    options: dict[str, Any]  # the options, as `PrepareOptions.to_dict` gives them


def prepare(
    reviews: str | Path,
    prepared: str | Path,
    summary: str | Path,
    options: PrepareOptions | None = None,
    *,
    resolved: str | Path = "",
    disputes: str | Path | None = None,
) -> PrepareSummary:
    """Clean and split what ingest wrote.

    Reads the file twice, in batches: once for what splitting needs, once to write. Rows with a
    weak label belong to train, and have no say in which split another row is in. Nor have reviews
    that people labelled and the data do not hold; they come to train with their weight, unless
    validation or test has their text.

    Args:
        reviews: Parquet in `REVIEW_SCHEMA` or `LABELLED_SCHEMA`.
        prepared: Where to write Parquet in `PREPARED_SCHEMA`.
        summary: Where to write the summary as JSON.
        options: How to clean, divide and balance; the defaults where None.
        resolved: File or folder of resolved labels; none where empty.
        disputes: Where to write what people say otherwise of test reviews, as JSON.

    Returns:
        The summary that was written.

    Raises:
        UserError: If an option is out of bounds, no review has a label, or a sentiment is absent
            or has too few reviews for three splits.
    """
    options = options or PrepareOptions()
    labels = labels_of_file(reviews)
    rows, rows_in, unlabelled, codes = survey(reviews, options.seed, options.cleaning, labels)
    if rows.weak.all():
        raise UserError(
            f"none of the {rows_in} reviews in {reviews} has a rating or a sentiment; "
            "give data with a column Rating or sentiment"
        )
    shares = {"validation_share": options.validation_share, "test_share": options.test_share}
    known, splits = rows.only(~rows.weak), np.full(len(rows.weak), TRAIN, np.int8)
    splits[~rows.weak] = assign_splits(known.texts, known.classes, labels, **shares)
    left_out = rows.weak & np.isin(rows.texts, rows.texts[splits != TRAIN])
    emptied = rows_in - unlabelled - len(left_out)
    rows, splits = rows.only(~left_out), splits[~left_out]
    reviewed = _reviewed(reviews, resolved, rows, splits, options, labels)
    if reviewed.added:
        rows = rows.joined(rows_of(reviewed.added, rows_in, codes, options.seed, labels))
        splits = np.append(splits, np.full(len(reviewed.added), TRAIN, np.int8))
    training = splits == TRAIN
    copies = np.ones(len(splits), dtype=np.int32)
    copies[training] = copies_for_balance(
        rows.classes[training], rows.categories[training], rows.ids[training], options.balance
    )
    made = PrepareSummary(
        rows_in=rows_in,
        unlabelled=unlabelled,
        emptied=emptied,
        weak=int(rows.weak.sum()),
        weak_left_out=int(left_out.sum()),
        reviewed=reviewed.counts(),
        classes=list(labels.names),
        **_counts(rows, splits, copies, labels),
        options=options.to_dict(),
    )
    texts = _Texts(options.cleaning, _masker(reviews, labels) if options.mask_texts else None)
    with replaced_when_whole(prepared) as draft, replaced_when_whole(summary) as summary_draft:
        _write(reviews, draft, rows.places, splits, copies, (texts, labels, reviewed))
        write_json(summary_draft, asdict(made))
    if disputes is not None:
        write_json(disputes, reviewed.disputes)
    logger.info(
        "divided %d reviews: %s; %d of them repeat a text; %d without a label left out",
        made.rows,
        ", ".join(f"{made.splits[name]['rows']} {name}" for name in SPLITS),
        made.repeated_texts,
        made.unlabelled,
    )
    if made.weak:
        logger.info(
            "%d weak labels in train; %d more have a text of validation or test and are left out",
            *(made.weak, made.weak_left_out),
        )
    if resolved:
        logger.info(
            "%(added)d reviews that people labelled in train; %(known)d are of the data, "
            "%(held_out)d more have a text of validation or test; %(disputes)d dispute a label",
            made.reviewed,
        )
    return made


def _reviewed(
    reviews: str | Path,
    resolved: str | Path,
    rows: Rows,
    splits: NDArray[np.int8],
    options: PrepareOptions,
    labels: LabelSet,
) -> Corrections:
    """What becomes of the resolved labels, if there are any: reads the reviews once more."""
    found = read_corrections(resolved, labels) if resolved else []
    if not found:
        return NONE
    for row in found:
        row["title"] = clean(row["title"] or "", **options.cleaning) or None
        row["review_body"] = clean(row["review_body"], **options.cleaning)
    numbers = [keyed_order(row["review_id"], options.seed) for row in found]
    known = np.isin(np.array(numbers, np.uint64), rows.ids)
    ids = [row["review_id"] for row, is_known in zip(found, known, strict=True) if is_known]
    unseen = held_out(reviews, rows.places, splits, options.cleaning, labels)
    return sort_out([row for row in found if row["review_body"]], ids, unseen, labels)


class _Texts(NamedTuple):
    """What becomes of the texts that are written."""

    cleaning: dict[str, bool]
    masker: Masker | None

    def of(self, column: pa.ChunkedArray) -> list[str]:
        """The texts of a column, cleaned and perhaps masked; empty where there is none."""
        texts = cleaned(column, self.cleaning)
        return texts if self.masker is None else [self.masker.mask(text).text for text in texts]


def _masker(reviews: str | Path, labels: LabelSet) -> Masker:
    """A masker that knows the words that several of these reviews hold."""
    return Masker(
        known_words(
            f"{row['title'] or ''} {row['review_body']}"
            for table in iterate_reviews(reviews, labels)
            for row in table.select(["title", "review_body"]).to_pylist()
        )
    )


def _write(
    reviews: str | Path,
    draft: Path,
    places: NDArray[np.int64],
    splits: NDArray[np.int8],
    copies: NDArray[np.int32],
    how: tuple[_Texts, LabelSet, Corrections],
) -> None:
    """Copy the rows at `places` with cleaned texts, their split and their copies; then the added.

    `how` is what becomes of the texts, the label set and the reviews to add.
    """
    texts, labels, reviewed = how
    names = np.array(SPLITS)
    schema = labels.on(PREPARED_SCHEMA)
    first = 0
    with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
        for table in iterate_reviews(reviews, labels):
            low, high = np.searchsorted(places, [first, first + table.num_rows])
            used = table.take(pa.array(places[low:high] - first))
            columns = {name: used[name] for name in used.column_names}
            columns["review_body"] = pa.array(texts.of(used["review_body"]))
            titles = pa.array(texts.of(used["title"]), pa.string())
            columns["title"] = pc.if_else(
                pc.equal(titles, ""), pa.scalar(None, pa.string()), titles
            )
            columns["split"] = pa.array(names[splits[low:high]])
            columns["copies"] = pa.array(copies[low:high])
            columns["weight"] = pa.array(np.ones(used.num_rows))
            if used.num_rows:
                writer.write_table(pa.table(list(columns.values()), schema=schema))
            first += table.num_rows
        if reviewed.added:
            more = as_reviews(reviewed.added, schema)
            place = schema.get_field_index("copies")
            writer.write_table(
                more.set_column(place, schema.field(place), pa.array(copies[-more.num_rows :]))
            )


def _counts(
    rows: Rows, splits: NDArray[np.int8], copies: NDArray[np.int32], labels: LabelSet
) -> dict[str, Any]:
    """The fields of the summary that follow from the division."""
    texts, text_of_row = np.unique(rows.texts, return_inverse=True)
    classes_per_text = np.zeros((len(texts), len(labels)), dtype=bool)
    classes_per_text[text_of_row, rows.classes] = True
    per_split = {}
    for index, name in enumerate(SPLITS):
        counts = np.bincount(rows.classes[splits == index], minlength=len(labels))
        per_split[name] = {
            "rows": int(counts.sum()),
            "classes": labels.counted(counts),
            "majority_rate": float(counts.max() / counts.sum()),
        }
    training = splits == TRAIN
    shown = np.bincount(
        rows.classes[training], weights=copies[training], minlength=len(labels)
    ).astype(int)
    majority = int(np.bincount(rows.classes[splits == TEST]).argmax())
    return {
        "rows": len(splits),
        "repeated_texts": len(splits) - len(texts),
        "conflicting_texts": int((classes_per_text.sum(axis=1) > 1).sum()),
        "splits": per_split,
        "majority_class": labels.names[majority],
        "majority_rate": per_split[SPLITS[TEST]]["majority_rate"],
        "copies": {
            "shown": int(shown.sum()),
            "classes": labels.counted(shown),
            "left_out": int((copies[training] == 0).sum()),
            "largest": int(copies[training].max()),
        },
    }
