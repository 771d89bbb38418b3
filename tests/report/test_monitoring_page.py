"""The page of a look at the served model."""

import json
from dataclasses import replace

import pytest

from components.report.monitoring_page import write_monitoring_page
from tests.monitoring.made_up_summary import TWICE, finding, summary
from tests.report.reading import Page


@pytest.fixture
def page(tmp_path):
    def read(made):
        (tmp_path / "summary").write_text(json.dumps(made.to_dict()))
        write_monitoring_page(tmp_path / "summary", tmp_path / "page")
        return Page((tmp_path / "page").read_text(encoding="utf-8"))

    return read


def test_the_page_tells_what_drifted_how_right_it_is_and_who_answered(page):
    read = page(summary())
    read.tells("The model is less right than on its test", "78 % are right", f"R{TWICE[1:]}.")
    read.tells(
        "2,100", "2026-11-02 00:00 UTC to 2026-11-16 00:00 UTC", "2,000", "78.0", "300 checked"
    )
    read.tells("12", "of 365", "p below 0.00274", "2 comparisons", "product category", "drifted")
    read.tells("8e-20", "the texts as a whole (the log keeps no texts)", "Then and now", TWICE[1:])
    read.tells(
        "How right it is", "Who answered", "3", "this one", "2,100", "2", "900", "other 1", "4"
    )
    read.tells("a.parquet is damaged: no footer")
    effects, change, accuracy = read.charts
    assert "product category: 0.16, by chance 0.01" in effects.findtext("desc")
    assert "Dresses" in "".join(change.itertext())
    told = accuracy.findtext("desc")
    assert "2026-W46: 0.76, 0.71 to 0.81" in told
    assert "test reviews: 0.86, 0.844 to 0.875" in told


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"verdict": "no drift"}, "The reviews are what the model was made for"),
        ({"verdict": "drifted"}, "The reviews have changed"),
        ({"verdict": "too little data", "findings": []}, "Too little data to judge drift"),
    ],
)
def test_the_headline_is_the_verdict_where_the_model_is_as_right_as_ever(page, changes, title):
    made = summary(concept_drift="no", concept_sentence="As right as ever.", **changes)
    read = page(made)
    read.tells(title)
    assert "less right" not in read.text


def test_a_model_that_does_better_than_on_its_test_is_no_bad_news(page):
    made = summary(verdict="no drift", live_accuracy=replace(summary().live_accuracy, value=0.95))
    assert "The model does better than on its test" in page(made).text


def test_what_is_not_known_is_said_and_never_a_number(page):
    nothing = {"live_accuracy": None, "test_accuracy": None, "weeks": [], "versions": {}, "rows": 0}
    made = summary(**nothing, findings=[], concept_drift="unknown", verdict="too little data")
    read = page(made)
    read.tells("too few answers were checked", "Nothing was compared", "unknown until", "nobody")
    assert "nan" not in read.text.lower()
    assert read.charts == []


def test_words_of_the_log_are_escaped(page):
    evil = "<script>alert(1)</script>\x00"
    found = finding("texts", words=f"known by {evil}", new_words=[evil], cells=[], chance=0.0)
    read = page(summary(findings=[found], notes=[evil], versions={evil: 3}))
    assert read.text.count("<script>alert(1)</script>") >= 4
