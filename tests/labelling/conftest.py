"""Made-up reviews whose class shows in some of their words, and files of them."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from components.shared.machine.files import write_parquet
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import PREPARED_SCHEMA
from tests.conftest import RATED

TELLING = {
    -1: ("disappointed", "cheap", "returned", "itchy", "awful"),
    0: ("okay", "however", "average", "fine", "mixed"),
    1: ("love", "perfect", "compliments", "gorgeous", "great"),
}
FILLER = ("this", "dress", "top", "fabric", "sleeve", "colour", "fit", "length", "waist", "blue")
WHEN = datetime(2024, 1, 1, tzinfo=UTC)


def made_up(rows, seed=0, telling=TELLING, shares=(0.2, 0.2, 0.6)):
    """Reviews as ingest writes them; every tenth word or so tells."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(rows):
        sentiment = int(random.choice(list(telling), p=shares))
        words = [*random.choice(FILLER, size=random.integers(6, 20))]
        words += [*random.choice(telling[sentiment], size=random.integers(1, 4))]
        random.shuffle(words)
        rating = {-1: 1, 0: 3, 1: 5}[sentiment]
        row = {"review_id": f"r{seed}-{number}", "review_body": " ".join(words), "title": None}
        made.append(row | {"sentiment": sentiment, "rating": rating, "event_timestamp": WHEN})
    return made


def prepared_rows(rows, **options):
    """Reviews as prepare writes them: 8 of 10 in train, 1 each in validation and test."""
    made = made_up(rows, **options)
    splits = ["validation", "test", *["train"] * 8]
    return [
        row | RATED | {"split": splits[number % 10], "copies": 1} for number, row in enumerate(made)
    ]


@pytest.fixture
def write(tmp_path):
    def written(rows, schema=PREPARED_SCHEMA, labels=SENTIMENTS, name="prepared"):
        whole = [{field: row.get(field) for field in schema.names} for row in rows]
        table = pa.Table.from_pylist(whole, schema=labels.on(schema))
        write_parquet(tmp_path / name, table)
        return tmp_path / name

    return written
