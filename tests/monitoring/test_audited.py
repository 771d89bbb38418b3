from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from components.monitoring.audited import accuracies, read_labels, week_of
from components.monitoring.window import read_window
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.resolved_labels import resolved_labels_schema, write_resolved
from components.shared.records.review_items import item_id_of
from tests.monitoring.made_up_log import NAMES, SINCE, UNTIL, digest_of


def resolved(folder, items, sentiment=1, labels=SENTIMENTS, **changes):
    """A file of resolved labels, one row for each (item, inclusion probability)."""
    row = {
        **{"title": None, "review_body": "nice", "product_category": None, "sentiment": sentiment},
        **{"label_source": "reviewer", "label_probability": 1.0, "votes": 3, "agreement": 1.0},
        **{"weight": 1.0, "queue": "uncertain", "occurrences": 1, "model_name": "reviews"},
        **{"model_version": "3", "reason": "majority", "adjudicated": False},
        "event_timestamp": UNTIL,
    } | changes
    rows = [
        row | {"item_id": item, "review_id": item, "inclusion_probability": chance}
        for item, chance in items
    ]
    write_resolved(folder, pa.Table.from_pylist(rows, schema=resolved_labels_schema(labels)))
    return str(folder)


def test_labels_count_if_they_were_drawn_from_the_versions_answers(model, tmp_path):
    resolved(tmp_path, [("a", 0.5)], sentiment=-1)
    resolved(tmp_path, [("b", 1.0)], queue="audit")
    resolved(tmp_path, [("c", 1.0)], queue="label_noise")
    resolved(tmp_path, [("d", 1.0)], model_version="2")
    resolved(tmp_path, [("e", 1.0)], model_name=None)
    resolved(tmp_path, [("f", 1.0)], votes=0, reason="withdrawn")
    found = read_labels(str(tmp_path), model, NAMES)
    assert found == {"a": ("negative", 0.5), "b": ("positive", 1.0)}
    assert read_labels("", model, NAMES) == {}


def test_a_later_label_of_a_review_replaces_an_earlier_one(model, tmp_path):
    resolved(tmp_path, [("a", 0.5)], sentiment=-1)
    resolved(tmp_path, [("a", 0.5)], sentiment=0, event_timestamp=UNTIL + timedelta(days=1))
    assert read_labels(str(tmp_path), model, NAMES) == {"a": ("neutral", 0.5)}


def test_labels_of_other_classes_are_refused(model, tmp_path):
    resolved(tmp_path, [("a", 0.5)], labels=LabelSet.parse("bad=0 good=1"))
    with pytest.raises(UserError, match=r"labels of the classes bad, good, but version 3 answers"):
        read_labels(str(tmp_path), model, NAMES)


def test_no_place_is_an_error_and_an_empty_one_is_none(model, tmp_path):
    with pytest.raises(UserError, match="does not exist; run the review first"):
        read_labels(str(tmp_path / "nowhere"), model, NAMES)
    assert read_labels(str(tmp_path), model, NAMES) == {}


def test_answers_are_joined_by_review_or_by_text_and_counted_by_week(model, log):
    """Half of the answers have an id; every third of the first week was checked, all are right."""
    ids = [f"r{n}" if n % 2 else None for n in range(600)]
    digests = [digest_of(n) for n in range(600)]
    folder = log(rows=600, review_id=ids, text_sha256=digests, label=["positive"] * 600)
    window = read_window(folder, model, SINCE, UNTIL)
    labels = {item_id_of(ids[n], digests[n]): ("positive", 1 / 3) for n in range(0, 300, 3)}
    labels["unknown"] = ("positive", 0.5)
    whole, weeks = accuracies(window, labels)
    assert [one.week for one in weeks] == ["2026-W45"]
    assert (weeks[0].answers, weeks[0].labels) == (300, 100)
    assert (whole.answers, whole.labels) == (600, 100)
    assert weeks[0].value == pytest.approx(1.0)


def test_a_text_asked_twice_is_one_label_for_two_answers(model, log):
    digests = [digest_of(n % 100) for n in range(200)]
    same = {"label": ["positive"] * 200, "p_positive": [0.9] * 200}
    folder = log(rows=200, text_sha256=digests, **same)
    labels = {
        item_id_of(None, digest_of(n)): ("positive" if n < 50 else "negative", 1.0)
        for n in range(100)
    }
    whole, _ = accuracies(read_window(folder, model, SINCE, UNTIL), labels)
    assert (whole.labels, whole.answers) == (100, 200)
    assert whole.value == pytest.approx(0.5)


def test_weeks_are_iso_weeks():
    assert [week_of(SINCE), week_of(SINCE - timedelta(seconds=1))] == ["2026-W45", "2026-W44"]
    assert np.unique([week_of(SINCE + timedelta(days=day)) for day in range(14)]).size == 2
