from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.retraining.decide import (
    ASK,
    RETRAIN,
    WAIT,
    Retraining,
    Situation,
    TriggerOptions,
    decide,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPTIONS = TriggerOptions(least_labels=3, enough_labels=6, cool_down_hours=24)


def hours_ago(hours):
    return NOW - timedelta(hours=hours)


def situation(drifted="yes", labels=0, window_until=NOW, trained_until=None):
    known = [hours_ago(1)] * labels
    return Situation(drifted, "Dresses are twice as frequent.", window_until, known, trained_until)


def earlier(started, ended=True, labels_until=None, window_until=None):
    return Retraining("run-1", started, ended, labels_until or started, window_until or started)


@pytest.mark.parametrize(
    ("seen", "action", "words"),
    [
        (situation("no", 0), WAIT, "Nothing drifted, and 0 labels by people are new, 6 would"),
        (situation("unknown", 1), WAIT, "too little data to see drift, and 1 label by people is"),
        (situation("yes", 0), ASK, "Dresses are twice as frequent; but only 0 labels"),
        (situation("yes", 2), ASK, "a retraining needs 3"),
        (situation("yes", 3), RETRAIN, "Dresses are twice as frequent; 3 labels"),
        (situation("no", 6), RETRAIN, "6 labels by people are new."),
        (situation("no", 5), WAIT, "Nothing drifted"),
    ],
)
def test_without_history(seen, action, words):
    decision = decide(seen, [], OPTIONS, NOW)
    assert decision.action == action
    assert words in decision.reason


def test_labels_that_a_training_had_are_not_new():
    used = situation("yes", 3, trained_until=hours_ago(0.5))
    assert decide(used, [], OPTIONS, NOW).action == ASK
    by_the_ledger = [earlier(hours_ago(30), labels_until=hours_ago(1))]
    assert decide(situation("yes", 3), by_the_ledger, OPTIONS, NOW).action == ASK


def test_the_same_window_of_drift_triggers_once():
    before = [earlier(hours_ago(30), window_until=hours_ago(2))]
    again = decide(situation("yes", 3, window_until=hours_ago(2)), before, OPTIONS, NOW)
    assert again.action == WAIT
    assert "has started a retraining already" in again.reason
    later = situation("yes", 3, window_until=hours_ago(1))
    assert decide(later, before, OPTIONS, NOW).action == RETRAIN


def test_the_cool_down_is_kept_and_its_end_said():
    recent = [earlier(hours_ago(23))]
    decision = decide(situation("yes", 6), recent, OPTIONS, NOW)
    assert decision.action == WAIT
    assert "2026-11-20 13:00" in decision.reason
    assert decide(situation("yes", 6), [earlier(hours_ago(25))], OPTIONS, NOW).action == RETRAIN


def test_a_retraining_that_never_ended_gives_its_evidence_back_after_the_cool_down():
    lost = earlier(hours_ago(25), ended=False, labels_until=NOW, window_until=NOW)
    assert decide(situation("yes", 3), [lost], OPTIONS, NOW).action == RETRAIN
    running = earlier(hours_ago(2), ended=False, labels_until=NOW, window_until=NOW)
    assert decide(situation("yes", 3), [running], OPTIONS, NOW).action == WAIT


@given(st.integers(0, 9), st.sampled_from(["yes", "no", "unknown"]), st.integers(0, 60))
def test_evidence_that_was_used_never_retrains_again(labels, drifted, passed):
    seen = situation(drifted, labels)
    if decide(seen, [], OPTIONS, NOW).action == RETRAIN:
        used = [earlier(NOW, labels_until=hours_ago(1), window_until=NOW)]
        later = NOW + timedelta(hours=passed)
        assert decide(seen, used, OPTIONS, later).action != RETRAIN
