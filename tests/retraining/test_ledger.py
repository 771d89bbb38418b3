import threading
from datetime import UTC, datetime, timedelta

import pytest

from components.retraining.decide import RETRAIN, Situation, TriggerOptions
from components.retraining.ledger import decide_once, note_end, read_ledger
from components.shared.machine.errors import UserError

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
OPTIONS = TriggerOptions(least_labels=1)
DRIFTED = Situation("yes", "Dresses are twice as frequent", NOW, [NOW])


def test_evidence_is_written_down_and_triggers_once(tmp_path):
    assert decide_once(DRIFTED, OPTIONS, "first", tmp_path, NOW).action == RETRAIN
    assert decide_once(DRIFTED, OPTIONS, "second", tmp_path, NOW).action != RETRAIN
    (entry,) = read_ledger(tmp_path)
    assert (entry.run, entry.labels_until, entry.ended) == ("first", NOW, False)


def test_a_step_that_is_started_again_gives_the_same_answer(tmp_path):
    first, again = (decide_once(DRIFTED, OPTIONS, "first", tmp_path, NOW) for _ in range(2))
    assert first.action == RETRAIN
    assert first == again
    assert len(read_ledger(tmp_path)) == 1


def test_a_decision_not_to_retrain_uses_nothing_up(tmp_path):
    quiet = Situation("no", "", NOW, [NOW])
    assert decide_once(quiet, OPTIONS, "first", tmp_path, NOW).action != RETRAIN
    assert read_ledger(tmp_path) == []


def test_of_many_that_decide_at_once_one_retrains(tmp_path):
    start, actions = threading.Barrier(8), []

    def look(name):
        start.wait()
        actions.append(decide_once(DRIFTED, OPTIONS, name, tmp_path, NOW).action)

    threads = [threading.Thread(target=look, args=(f"run-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert actions.count(RETRAIN) == 1


def test_the_end_of_a_retraining_is_noted(tmp_path):
    decide_once(DRIFTED, OPTIONS, "first", tmp_path, NOW)
    note_end("another", tmp_path)
    assert not read_ledger(tmp_path)[0].ended
    note_end("first", tmp_path)
    assert read_ledger(tmp_path)[0].ended
    later = NOW + timedelta(days=9)
    assert decide_once(DRIFTED, OPTIONS, "second", tmp_path, later).action != RETRAIN


@pytest.mark.parametrize("content", ["[]", "{}", '{"run": 1', '{"run": "a", "started": "soon"}'])
def test_a_damaged_entry_is_named(tmp_path, content):
    (tmp_path / "run-7.json").write_text(content)
    with pytest.raises(UserError, match=r"run-7\.json"):
        decide_once(DRIFTED, OPTIONS, "first", tmp_path, NOW)
