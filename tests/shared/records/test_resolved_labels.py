from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.resolved_labels import (
    read_resolved,
    resolved_labels_schema,
    write_resolved,
)

START = datetime(2026, 11, 22, tzinfo=UTC)
ROW = {"review_body": "A dress.", "label_source": "reviewer", "label_probability": 0.9, "votes": 3}
ROW |= {"agreement": 1.0, "weight": 1.0, "queue": "audit", "inclusion_probability": 0.1}
ROW |= {"occurrences": 1, "reason": "majority", "adjudicated": False}


def rows(*sentiments, hour=0, labels=SENTIMENTS, first=0):
    made = [
        {"item_id": f"r{n}", "review_id": f"r{n}", "sentiment": sentiment, **ROW}
        | {"event_timestamp": START + timedelta(hours=hour)}
        for n, sentiment in enumerate(sentiments, start=first)
    ]
    return pa.Table.from_pylist(made, schema=resolved_labels_schema(labels))


def found(place):
    table = read_resolved(place)
    return dict(zip(table["review_id"].to_pylist(), table["sentiment"].to_pylist(), strict=True))


def test_a_later_row_of_a_review_wins_and_no_file_is_written_over(tmp_path):
    first = write_resolved(tmp_path, rows(-1, 0))
    content = first.read_bytes()
    later = write_resolved(tmp_path, rows(1, hour=2, first=1))
    assert found(tmp_path) == {"r0": -1, "r1": 1}
    assert found(first) == {"r0": -1, "r1": 0}
    assert first.read_bytes() == content
    assert write_resolved(tmp_path, rows(1, hour=2, first=1)) == later
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_without_labels_nothing_is_written_and_nothing_is_read(tmp_path):
    assert write_resolved(tmp_path, rows()) is None
    assert read_resolved(tmp_path).num_rows == 0
    with pytest.raises(UserError, match="does not exist; run the review first"):
        read_resolved(tmp_path / "none")


def test_labels_of_two_label_sets_are_not_mixed(tmp_path):
    write_resolved(tmp_path, rows(0, labels=LabelSet.parse("good bad")))
    assert LabelSet.of(read_resolved(tmp_path).schema) == LabelSet.parse("good bad")
    write_resolved(tmp_path, rows(0, hour=1))
    with pytest.raises(UserError, match=r"other classes \(sentiments\).*\(good bad\)"):
        read_resolved(tmp_path)
