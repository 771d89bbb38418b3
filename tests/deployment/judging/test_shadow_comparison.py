from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.deployment.judging.shadow_comparison import compare_shadow
from components.shared.machine.errors import UserError
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.payloads import PAYLOAD_SCHEMA


def log_of(folder, rows):
    """A payload log of (version, request, position, text, label)."""
    day = folder / "date=2026-11-20"
    day.mkdir(parents=True)
    records = [
        {
            "time": datetime(2026, 11, 20, 12, 0, i % 60, tzinfo=UTC),
            "request_id": request,
            "position": position,
            "model_name": "reviews",
            "model_version": version,
            "text_sha256": text,
            "text": None,
            "label": label,
            **{f"p_{name}": 0.8 if name == label else 0.1 for name in CLASS_NAMES},
            "truncated": False,
        }
        for i, (version, request, position, text, label) in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=PAYLOAD_SCHEMA), day / "a.parquet")
    return str(folder)


def test_a_shadow_is_compared_review_by_review(tmp_path):
    stable = log_of(
        tmp_path / "stable",
        [
            ("1", "r1", 0, "a", "positive"),
            ("1", "r1", 1, "b", "negative"),
            ("1", "r2", 0, "c", "neutral"),
            ("1", "r2", 0, "c", "negative"),  # the same request again
            ("1", "r3", 0, "d", "neutral"),  # the shadow has not seen it
            ("1", "r4", 0, "e", "neutral"),  # another text under the same id
            ("0", "r5", 0, "f", "neutral"),  # an older version
        ],
    )
    canary = log_of(
        tmp_path / "canary",
        [
            ("2", "r2", 0, "c", "positive"),
            ("2", "r1", 1, "b", "negative"),
            ("2", "r1", 0, "a", "positive"),
            ("2", "r4", 0, "x", "neutral"),
            ("2", "r5", 0, "f", "neutral"),
        ],
    )
    found = compare_shadow(stable, canary, "1", "2")
    assert found.agreed == (2, 3)
    assert found.changes == ((1, 0, 0), (0, 0, 1), (0, 0, 1))
    assert (found.only_stable, found.only_canary, found.mismatched) == (1, 1, 1)
    assert found.probability_change == pytest.approx(0.7 / 3, abs=1e-6)
    assert found.interval.low < 2 / 3 < found.interval.high
    later = compare_shadow(stable, canary, "1", "2", since=datetime(2026, 11, 21, tzinfo=UTC))
    assert later.agreed == (0, 0)
    assert later.probability_change is None


def test_one_log_may_hold_both_versions(tmp_path):
    log = log_of(tmp_path / "log", [("1", "r", 0, "a", "positive"), ("2", "r", 0, "a", "positive")])
    assert compare_shadow(log, log, "1", "2").agreed == (1, 1)
    with pytest.raises(UserError, match="both versions are 1"):
        compare_shadow(log, log, "1", "1")
