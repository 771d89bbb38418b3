from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.exploration.explore import explore
from components.data.ingest import UNDATED
from components.shared.records.labels import SENTIMENTS
from components.shared.records.reviews import PREPARED_SCHEMA

DATED = datetime(2024, 3, 1, 12, tzinfo=UTC)
BODIES = ("I love the soft fabric, it is perfect.", "It is okay, however not for me.", "Poor seam")


def review(number=0, sentiment=1, **changes):
    """A prepared row whose text says its class and number."""
    row = {"review_id": f"r{number}", "sentiment": sentiment, "split": "train", "copies": 1}
    row |= {"label_source": "rating", "label_probability": 1.0, "weight": 1.0}
    row |= {"review_body": f"{BODIES[(1 - sentiment) % 3]} {number}", "event_timestamp": UNDATED}
    return row | changes


def as_table(rows, labels=SENTIMENTS):
    return pa.Table.from_pylist(rows, schema=labels.on(PREPARED_SCHEMA))


@pytest.fixture
def prepared(tmp_path):
    """Writes rows as prepare does."""

    def write(rows, labels=SENTIMENTS):
        pq.write_table(as_table(rows, labels), tmp_path / "prepared")
        return tmp_path / "prepared"

    return write


@pytest.fixture
def explored(prepared, tmp_path):
    """Writes rows as prepare does and explores them."""

    def run(rows, labels=SENTIMENTS, **options):
        return explore(prepared(rows, labels), tmp_path / "summary.json", **options)

    return run
