"""The list of known words and the reference, put into a model folder that is exported."""

import hashlib
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_parquet, write_parquet
from components.shared.records.known_words import (
    K,
    lower_case_words,
    review_counts,
    words_of,
    write_known_words,
)
from components.shared.records.labels import labels_of_file
from components.shared.records.model_folder import kind_of, read_class_names
from components.shared.records.reference import MOST_ROWS, REFERENCE, reference_schema
from components.shared.records.reviews import (
    PREPARED_SCHEMA,
    TRAINING_SET_SCHEMA,
    predictions_schema,
)
from components.shared.records.sparse_model import SPARSE
from components.shared.records.text import model_text
from components.shared.records.text_statistics import text_statistics


def add_reference(
    folder: str | Path,
    prepared: str | Path,
    predictions: str | Path,
    training_set: str | Path,
    *,
    most_rows: int = MOST_ROWS,
) -> int:
    """Write `known_words.txt` and `reference.parquet` into a model folder; return its rows.

    Words are counted in the training split of the prepared reviews. Of more than `most_rows`
    reviews as many are drawn, by the digests of their ids: half from the test split, or all of it
    where it has fewer.

    Raises:
        UserError: If an input is missing or not of its schema, or the predictions are of other
            reviews or classes.
    """
    folder = Path(folder)
    names = ["review_id", "split", "title", "review_body", "product_category"]
    reviews = read_parquet(prepared, PREPARED_SCHEMA, names)
    counts = review_counts(_text(row) for row in reviews.to_pylist() if row["split"] == "train")
    known = frozenset(word for word, found in counts.items() if found >= K)
    write_known_words(folder, known)

    rows = _drawn(reviews, most_rows)
    texts = [_text(row) for row in rows]
    statistics = text_statistics(texts, known)
    # A word that five reviews hold, one of which is this one, would not be known without it.
    by_five = {word for word in known if counts[word] == K}
    lengths: dict[str, int] = {}
    if kind_of(folder) != SPARSE:
        tokens = read_parquet(training_set, TRAINING_SET_SCHEMA, ["review_id", "n_tokens"])
        lengths = dict(zip(*(column.to_pylist() for column in tokens.columns), strict=True))
    answers = _answers(predictions, read_class_names(folder))
    for number, (row, text) in enumerate(zip(rows, texts, strict=True)):
        row |= {name: column[number].as_py() for name, column in statistics.items()}
        row["n_tokens"] = lengths.get(row["review_id"])
        if row["split"] == "train":
            row["unknown_share"] = _unknown_share(text, known, by_five)
        if row["split"] == "test":
            if row["review_id"] not in answers:
                raise UserError(
                    f"{predictions} holds no answer for review {row['review_id']} of {prepared}; "
                    "evaluate the model on these reviews"
                )
            row |= answers[row["review_id"]]
    schema = reference_schema(read_class_names(folder))
    table = pa.Table.from_pylist(rows, schema=schema)
    write_parquet(folder / REFERENCE, table)
    return len(table)


def _text(row: Mapping[str, Any]) -> str:
    return model_text(row["title"], row["review_body"])


def _drawn(reviews: pa.Table, most_rows: int) -> list[dict[str, Any]]:
    """As many rows as may be kept, in an order that says nothing of when they came in."""

    def drawn(row: Mapping[str, Any]) -> bytes:
        return hashlib.sha256(row["review_id"].encode()).digest()

    rows = sorted(reviews.to_pylist(), key=drawn)
    test = [row for row in rows if row["split"] == "test"]
    others = [row for row in rows if row["split"] != "test"]
    test = test[: max(most_rows // 2, most_rows - len(others))]
    return test + others[: most_rows - len(test)]


def _unknown_share(text: str, known: Set[str], by_five: Set[str]) -> float | None:
    """The share of unknown words, were the review not among those that the list was made of."""
    words = words_of(text.lower())
    own = lower_case_words(text) & by_five
    unknown = sum(word not in known or word in own for word in words)
    return unknown / len(words) if words else None


def _answers(predictions: str | Path, class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The answer of each test review by its id, as in the reference."""
    labels = labels_of_file(predictions)
    if labels.names != tuple(class_names):
        raise UserError(
            f"{predictions} is of the classes {', '.join(labels.names)}, and the model of "
            f"{', '.join(class_names)}; evaluate this model"
        )
    chances = [f"p_{name}" for name in class_names]
    wanted = ["review_id", "sentiment", "predicted", "label", *chances]
    found = read_parquet(predictions, predictions_schema(labels), wanted).to_pylist()
    return {
        row["review_id"]: {
            **{name: row[name] for name in ("label", *chances)},
            "correct": row["sentiment"] == row["predicted"],
        }
        for row in found
    }
