import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.deployment.judging.shadow import compare_shadow, describe_shadow
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS
from components.shared.records.payloads import payload_schema


def log_of(folder, rows):
    """A payload log of (version, request, position, text, label)."""
    day = folder / "date=2026-11-20"
    day.mkdir(parents=True)
    same = {"model_name": "reviews", "text": None, "truncated": False}
    records = [
        same
        | {
            "time": datetime(2026, 11, 20, 12, 0, i % 60, tzinfo=UTC),
            "request_id": request,
            "position": position,
            "model_version": version,
            "text_sha256": text,
            "label": label,
            **{f"p_{name}": 0.8 if name == label else 0.1 for name in SENTIMENTS.names},
        }
        for i, (version, request, position, text, label) in enumerate(rows)
    ]
    pq.write_table(pa.Table.from_pylist(records, schema=payload_schema()), day / "a.parquet")
    return str(folder)


def test_a_shadow_is_compared_review_by_review(tmp_path):
    log = log_of(
        tmp_path / "stable",
        [
            ("1", "r1", 0, "a", "positive"),
            ("1", "r1", 1, "b", "negative"),
            ("1", "r2", 0, "c", "neutral"),
            ("1", "r2", 0, "c", "negative"),  # the same request again
            ("1", "r3", 0, "d", "neutral"),  # the shadow has not seen it
            ("1", "r4", 0, "e", "neutral"),  # another text under the same id
            ("0", "r5", 0, "f", "neutral"),  # an older version
            ("2", "r2", 0, "c", "positive"),
            ("2", "r1", 1, "b", "negative"),
            ("2", "r1", 0, "a", "positive"),
            ("2", "r4", 0, "x", "neutral"),
            ("2", "r5", 0, "f", "neutral"),
        ],
    )
    found = compare_shadow(log, "1", "2")
    assert found.agreed == (2, 3)
    assert found.changes == ((1, 0, 0), (0, 0, 1), (0, 0, 1))
    assert (found.only_stable, found.only_canary, found.mismatched) == (1, 1, 1)
    assert found.probability_change == pytest.approx(0.7 / 3, abs=1e-6)
    assert found.interval.low < 2 / 3 < found.interval.high
    later = compare_shadow(log, "1", "2", since=datetime(2026, 11, 21, tzinfo=UTC))
    assert later.agreed == (0, 0)
    assert later.probability_change is None
    with pytest.raises(UserError, match="both versions are 1"):
        compare_shadow(log, "1", "1")


NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def described(log, later=60.0):
    """What is said of a step of the ten seconds from noon on; and how long it was waited for."""
    slept, span = [], (NOON, NOON + timedelta(seconds=10))
    now = span[1] + timedelta(seconds=later)
    return describe_shadow(log, ("1", "2"), span, now=lambda: now, sleep=slept.append), slept


def test_answers_given_while_it_was_a_shadow_are_compared(tmp_path):
    rows = [
        (version, f"r{number}", 0, "a", "negative" if number == 2 == int(version) else "positive")
        for number in range(8)
        for version in ("1", "2")
    ]
    shadow, slept = described(log_of(tmp_path, rows))
    # Row i is of second i: the five first requests are within the span.
    assert (shadow["agreed"], shadow["only_stable"]) == ((4, 5), 0)
    assert json.loads(json.dumps(shadow))["changes"] == [[0, 0, 0], [0, 0, 0], [1, 0, 4]]
    assert slept == []
    _, slept = described(log_of(tmp_path / "again", rows), later=5.0)
    assert slept == [30.0]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: "", "no payload log of both versions was named"),
        (lambda folder: str(folder / "nowhere"), "not compared: there is no payload log at"),
        (
            lambda folder: log_of(folder, [("2", "one", 0, "a", "positive")]),
            "0 of the stable version's alone and 1 of the canary's alone",
        ),
    ],
    ids=["not named", "not there", "nothing paired"],
)
def test_what_cannot_be_compared_is_said(tmp_path, make, words):
    shadow, _ = described(make(tmp_path))
    assert words in shadow
