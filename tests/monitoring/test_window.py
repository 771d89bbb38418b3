from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.monitoring.window import read_expected, read_window
from components.shared.machine.errors import UserError
from components.shared.records.reference import REFERENCE
from tests.monitoring.made_up_log import NAMES, SINCE, UNTIL, served_model


def files(log):
    return sorted(Path(log).rglob("*.parquet"))


def test_only_the_versions_answers_are_compared_and_all_are_counted(model, log):
    log(rows=300)
    log(rows=200, model_version="2")
    folder = log(rows=100, model_name="another", seed=2)
    window = read_window(folder, model, SINCE, UNTIL)
    assert len(window.answers) == 300
    assert window.versions == {"3": 300, "2": 200, "another 3": 100}
    assert window.notes == []


def test_the_window_begins_with_since_and_ends_before_until(model, log):
    folder = log(rows=1400)
    middle = SINCE + timedelta(days=7)
    first, second = (
        read_window(folder, model, *ends) for ends in ((SINCE, middle), (middle, UNTIL))
    )
    assert len(first.answers) + len(second.answers) == 1400
    assert (
        max(first.answers["time"].to_pylist()) < middle <= min(second.answers["time"].to_pylist())
    )


def test_confidence_is_the_probability_of_the_answer(model, log):
    folder = log(
        rows=2, label=["negative", "positive"], p_negative=[0.4, 0.2], p_positive=[0.5, 0.7]
    )
    answers = read_window(folder, model, SINCE, UNTIL).answers
    assert answers["confidence"].to_pylist() == pytest.approx([0.4, 0.7])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_answers_without_a_probability_are_left_out_and_said(model, log, value):
    folder = log(rows=600, p_negative=[value] * 600, label=["negative"] * 5 + ["positive"] * 595)
    window = read_window(folder, model, SINCE, UNTIL)
    assert len(window.answers) == 595
    assert "5 answers have no probability between 0 and 1" in window.notes[0]


def test_a_label_that_no_class_has_is_left_out(model, log):
    window = read_window(log(rows=3, label=["good", "", "positive"]), model, SINCE, UNTIL)
    assert len(window.answers) == 1


def test_a_truncated_file_is_named_and_the_others_are_read(model, log):
    folder = log(rows=1400)
    broken = files(folder)[3]
    broken.write_bytes(broken.read_bytes()[:-200])
    window = read_window(folder, model, SINCE, UNTIL)
    assert len(window.answers) == 1300
    assert str(broken) in window.notes[0]
    assert "is damaged" in window.notes[0]


def test_files_of_a_model_with_other_classes_are_named_and_left_out(model, log, tmp_path):
    folder = log(rows=140)
    other = files(folder)[-1]
    table = pq.read_table(other).rename_columns(
        [name.replace("p_neutral", "p_unsure") for name in pq.read_schema(other).names]
    )
    pq.write_table(table, other)
    window = read_window(folder, model, SINCE, UNTIL)
    assert len(window.answers) == 130
    assert "other classes" in window.notes[0]


def test_a_log_of_an_earlier_release_reads_as_nulls(model, log):
    folder = log(rows=140)
    for file in files(folder):
        table = pq.read_table(file)
        pq.write_table(table.drop_columns(["review_id", "product_category", "n_words"]), file)
    answers = read_window(folder, model, SINCE, UNTIL).answers
    assert len(answers) == 140
    assert answers["product_category"].null_count == answers["n_words"].null_count == 140


def test_a_window_in_which_nobody_asked_is_empty(model, log):
    folder = log(rows=140)
    later = UNTIL + timedelta(days=30)
    window = read_window(folder, model, later, later + timedelta(days=1))
    assert (len(window.answers), len(window.different), window.versions) == (0, 0, {})


def test_a_repeated_text_is_one_of_the_different_ones(model, log):
    window = read_window(log(rows=6, text_sha256=list("abcabc")), model, SINCE, UNTIL)
    assert window.different["text_sha256"].to_pylist() == ["a", "b", "c"]
    assert window.different["time"].to_pylist() == window.answers["time"].to_pylist()[:3]


def test_what_cannot_be_looked_at_is_refused(model, log, tmp_path):
    with pytest.raises(UserError, match="before it begins"):
        read_window(log(rows=10), model, UNTIL, SINCE)
    with pytest.raises(UserError, match="there is no payload log"):
        read_window(str(tmp_path / "nowhere"), model, SINCE, UNTIL)


def test_the_reference_holds_answers_for_test_rows_alone(model):
    expected = read_expected(model)
    tested = np.array(expected["split"].to_pylist()) == "test"
    known = [value is not None for value in expected["confidence"].to_pylist()]
    assert known == tested.tolist()


def test_a_version_without_a_reference_is_to_be_trained_again(tmp_path):
    made = served_model(tmp_path, {"split": ["train"], "product_category": ["Tops"]}, names=NAMES)
    (tmp_path / REFERENCE).unlink()
    with pytest.raises(UserError, match=r"no reference to compare with.*train it again"):
        read_expected(made)
