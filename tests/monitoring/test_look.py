"""The history of looks, the metrics, and taking a look whole."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.monitoring.look import take_look, window_of
from components.monitoring.looks import LOOKS, looks_of, over_budget, record_look
from components.monitoring.metrics import FILE, PUSHGATEWAY_URL, write_metrics
from components.monitoring.monitor import MonitoringOptions
from components.shared.machine.errors import UserError
from components.shared.records import monitoring_metrics as names
from components.shared.records.monitoring_summary import read_monitoring_summary
from tests.monitoring.made_up_log import SINCE, UNTIL
from tests.monitoring.made_up_summary import summary


def metrics(folder):
    families = text_string_to_metric_families((folder / FILE).read_text())
    return {
        (sample.name, *(sample.labels.get(label) for label in ("column", "bound"))): sample.value
        for family in families
        for sample in family.samples
    }


def test_the_same_window_is_the_same_look_and_another_is_another(tmp_path):
    assert len(record_look(tmp_path, "log", summary())) == 1
    later = summary(looked_at="2026-11-16T09:00:00+00:00", verdict="no drift")
    (look,) = record_look(tmp_path, "log", later)
    assert look.verdict == "no drift"
    moved = summary(until="2026-11-15T00:00:00+00:00")
    assert len(record_look(tmp_path, "log", moved)) == 1  # before the look that came later
    assert len(record_look(tmp_path, "elsewhere", later)) == 3
    assert len(record_look(tmp_path, "log", summary(model_version="4"))) == 2


def test_only_the_looks_of_a_year_count(tmp_path):
    record_look(tmp_path, "log", summary(looked_at="2025-11-10T00:00:00+00:00", since="x"))
    assert len(record_look(tmp_path, "log", summary())) == 1


def test_a_damaged_look_is_left_out(tmp_path):
    record_look(tmp_path, "log", summary())
    for name, content in (("a", "{"), ("b", "{}"), ("c", "[]")):
        (tmp_path / LOOKS / f"{name}.json").write_text(content)
    assert len(looks_of(tmp_path, "reviews", datetime(2026, 11, 20, tzinfo=UTC))) == 1


def test_more_looks_than_the_budget_is_made_for_are_said(tmp_path):
    looks = record_look(tmp_path, "log", summary())
    assert over_budget(looks * 365, 365) == ""
    assert "look 366 in 365 days (366 alarms)" in over_budget(looks * 366, 365)


def test_metrics_say_what_was_found(tmp_path):
    write_metrics(summary(), tmp_path)
    found = metrics(tmp_path)
    assert found[names.DRIFTED, None, None] == 1
    assert found[names.DRIFT_EFFECT, "product_category", None] == 0.16
    assert found[names.DRIFT_P_VALUE, "label", None] == 0.8
    assert found[names.LIVE_ACCURACY, None, "low"] == 0.75
    assert found[names.TEST_ACCURACY, None, "value"] == 0.86
    assert found[names.LIVE_LABELS, None, None] == 300
    assert found[names.LOOKED_AT, None, None] == 1794808800


def test_what_is_not_known_is_no_metric(tmp_path):
    unknown = {"live_accuracy": None, "concept_drift": "unknown", "verdict": "too little data"}
    write_metrics(summary(**unknown, findings=[]), tmp_path)
    found = {name for name, *_ in metrics(tmp_path)}
    assert not {names.DRIFTED, names.CONCEPT_DRIFT, names.LIVE_ACCURACY, names.DRIFT_EFFECT} & found


def test_a_gateway_that_is_gone_does_not_stop_a_look(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(PUSHGATEWAY_URL, "http://127.0.0.1:1")
    assert write_metrics(summary(), tmp_path).is_file()
    assert "could not be pushed to http://127.0.0.1:1" in caplog.text


def test_a_look_leaves_summary_history_and_metrics(model, log, tmp_path):
    options = MonitoringOptions(looks_per_year=1, alarms_per_year=0.01)
    folder, window = log(dresses=0.4), (SINCE, UNTIL)
    place = tmp_path / "state"
    take_look(folder, model, window, tmp_path / "summary", options, folder=place)
    earlier = (SINCE, UNTIL - timedelta(days=1))
    found = take_look(folder, model, earlier, tmp_path / "summary", options, folder=place)
    assert found.looks_last_year == 2
    assert "this is look 2 in 365 days (2 alarms)" in found.notes[-1]
    assert read_monitoring_summary(tmp_path / "summary") == found
    assert metrics(place)[names.DRIFTED, None, None] == 1


def test_two_monitors_at_once_write_whole_files(model, log, tmp_path):
    folder, place = log(dresses=0.4), tmp_path / "state"

    def one(number):
        window = (SINCE, UNTIL - timedelta(days=number // 2))
        return take_look(folder, model, window, tmp_path / f"{number}.json", folder=place)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(one, range(4)))
    assert {one.verdict for one in found} == {"drifted"}
    assert len(looks_of(place, "reviews")) == 2
    assert metrics(place)[names.DRIFTED, None, None] == 1
    assert sorted(path.name for path in place.iterdir()) == [LOOKS, FILE]


def test_a_window_ends_now_and_begins_a_week_before():
    now = datetime(2026, 11, 22, 6, 30, 0, 123456, tzinfo=UTC)
    since, until = window_of("", "", now)
    assert until == now.replace(microsecond=0)
    assert until - since == timedelta(days=7)
    assert window_of("2026-11-01", "", now)[0] == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_time_that_is_none_is_refused():
    with pytest.raises(UserError, match="'yesterday' is no date or time; write it as"):
        window_of("yesterday", "")
