import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from components.retraining.decide import ASK, RETRAIN, WAIT, TriggerOptions
from components.retraining.situation import decide_on
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json
from components.shared.records.monitoring_summary import Accuracy, MonitoringSummary
from components.shared.records.resolved_labels import resolved_labels_schema, write_resolved

NOW = datetime.now(UTC)
OPTIONS = TriggerOptions(least_labels=2, enough_labels=5)
SEEN = MonitoringSummary(
    model_name="reviews",
    model_version="1",
    looked_at=NOW.isoformat(),
    since=(NOW - timedelta(days=7)).isoformat(),
    until=NOW.isoformat(),
    rows=900,
    texts=800,
    verdict="no drift",
    sentence="Nothing drifted.",
    findings=[],
    causes=[],
    not_compared={},
    alpha=0.01,
    alarms_per_year=1,
    looks_per_year=100,
    looks_last_year=1,
    min_rows=500,
    min_effect=0.01,
    live_accuracy=Accuracy(0.7, 0.6, 0.8, 900, 60),
    weeks=[],
    test_accuracy=Accuracy(0.9, 0.88, 0.92, 0, 145),
    concept_drift="no",
    concept_sentence="Live accuracy agrees with the test split.",
    versions={"1": 900},
    notes=[],
)


def label(name, votes=3, known=NOW):
    row = dict.fromkeys(resolved_labels_schema().names)
    row |= {"item_id": name, "review_id": name, "review_body": "fine", "sentiment": 1}
    row |= {"label_source": "reviewer", "label_probability": 0.95, "votes": votes}
    row |= {"agreement": 1.0, "weight": 1.0, "queue": "audit", "inclusion_probability": 0.1}
    row |= {"occurrences": 1, "reason": "majority", "adjudicated": False, "event_timestamp": known}
    return row


@pytest.fixture
def decided(tmp_path, monkeypatch):
    """Decides from made-up files; gives the decision and the place of the labels."""
    monkeypatch.setenv("LOCAL_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("REVIEW_DIR", raising=False)

    def decide(seen=SEEN, labels=(), facts=None, run="run-1"):
        write_json(tmp_path / "seen.json", seen.to_dict())
        write_json(tmp_path / "model" / "training.json", {"facts": facts or {}})
        folder = tmp_path / "state" / "review" / "resolved"
        if labels:
            write_resolved(folder, pa.Table.from_pylist(labels, resolved_labels_schema()))
        files = tmp_path / "seen.json", tmp_path / "model"
        found = decide_on(*files, "", OPTIONS, run, tmp_path / "decision.json")
        assert json.loads((tmp_path / "decision.json").read_text())["action"] == found[0].action
        return found

    return decide


def test_without_drift_and_labels_nothing_is_done(decided):
    decision, place = decided()
    assert (decision.action, place) == (WAIT, "")


def test_concept_drift_is_a_reason_too(decided):
    fallen = replace(SEEN, concept_drift="yes", concept_sentence="Live accuracy fell.")
    assert decided(fallen)[0].action == ASK
    decision, place = decided(fallen, [label("a"), label("b")])
    assert decision.action == RETRAIN
    assert decision.reason.startswith("Live accuracy fell")
    assert place.endswith("state/review/resolved")


def test_labels_that_were_withdrawn_do_not_count(decided):
    drifted = replace(SEEN, verdict="drifted", causes=["Dresses are asked about more often"])
    decision, _ = decided(drifted, [label("a"), label("b", votes=0)])
    assert (decision.action, decision.new_labels) == (ASK, 1)


def test_labels_that_the_champion_learned_from_are_not_new(decided):
    drifted = replace(SEEN, verdict="drifted", causes=["Dresses are asked about more often"])
    facts = {"labels_as_of": (NOW + timedelta(seconds=1)).isoformat()}
    decision, _ = decided(drifted, [label("a"), label("b")], facts)
    assert (decision.action, decision.new_labels) == (ASK, 0)


def test_a_file_that_is_something_else_is_named(decided, tmp_path):
    decided()
    write_json(tmp_path / "seen.json", {"verdict": "drifted"})
    with pytest.raises(UserError, match=r"seen\.json is not the summary of a look"):
        decide_on(tmp_path / "seen.json", tmp_path / "model", "", OPTIONS, "r", tmp_path / "d.json")
