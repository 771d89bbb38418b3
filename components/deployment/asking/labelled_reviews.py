"""Reviews with the class that people gave them, to ask model versions."""

import random
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from components.shared.machine.files import read_parquet
from components.shared.records.labels import ID2LABEL, sentiment_to_class
from components.shared.records.reviews import REVIEW_SCHEMA

_COLUMNS = ("review_body", "title", "sentiment")


class LabelledReview(NamedTuple):
    """A review and the class name that people gave it."""

    title: str | None
    body: str
    label: str


def read_labelled_reviews(path: str | Path, seed: int = 0) -> list[LabelledReview]:
    """The labelled reviews of a file, shuffled.

    Args:
        path: Parquet with `review_body`, `title` and `sentiment`; rows without a sentiment are
            passed over. Reviews that neither version learned from.
        seed: Of the shuffling.

    Raises:
        UserError: If the file cannot be read.
    """
    schema = pa.schema([REVIEW_SCHEMA.field(name) for name in _COLUMNS])
    found = [
        LabelledReview(
            row["title"], row["review_body"], ID2LABEL[sentiment_to_class(row["sentiment"])]
        )
        for row in read_parquet(path, schema).to_pylist()
        if row["sentiment"] is not None
    ]
    random.Random(seed).shuffle(found)  # noqa: S311 (a sample, not a secret)
    return found
