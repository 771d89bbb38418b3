import json

import pytest

from components.report.loop_page import write_loop_page

SCORE = {"value": 0.6, "low": 0.5, "high": 0.7}


def chapter(name, sentence="it went <well>", figures=None, page="", minutes=0):
    at = f"2026-11-20T10:{minutes:02}:00+00:00"
    later = f"2026-11-20T10:{minutes + 1:02}:30+00:00"
    told = {"name": name, "title": name.title(), "sentence": sentence, "page": page}
    return told | {"figures": figures or {}, "started": at, "ended": later}


def last(**figures):
    known = {"action": "retrain", "macro_f1": SCORE | {"value": 0.65}, "labels": 97}
    known |= {"live_accuracy": SCORE, "test_accuracy": SCORE}
    return chapter("second_turn", "retrained", known | figures, "runs/x/report.html", 9)


@pytest.fixture
def page(tmp_path):
    def write(*chapters):
        (tmp_path / "story.json").write_text(json.dumps({"chapters": chapters}))
        write_loop_page(tmp_path / "story.json", tmp_path / "report.html")
        return (tmp_path / "report.html").read_text()

    return write


FIRST = chapter("first_model", figures={"macro_f1": SCORE})


def test_the_story_is_told_with_its_times_and_texts_are_escaped(page):
    made = page(chapter("data"), FIRST, last(rollout={"decision": "hold"}))
    assert "it went &lt;well&gt;" in made or "It went &lt;well&gt;" in made
    assert "1\u202fmin 30\u202fs" in made
    assert '<a href="runs/x/report.html">' in made
    assert made.count("<svg") == 2


@pytest.mark.parametrize(
    ("figures", "title"),
    [
        (
            {"rollout": {"decision": "promote", "version": "2", "reason": "as good"}},
            "Version 2 has taken over",
        ),
        (
            {"rollout": {"decision": "roll_back", "version": "2", "reason": "slower"}},
            "Version 2 was rolled back",
        ),
        ({"action": "wait"}, "There was no reason to retrain"),
        ({}, "The gate stayed closed"),
    ],
)
def test_the_headline_says_how_it_ended(page, figures, title):
    assert f"<h1>{title}" in page(FIRST, last(**figures))


def test_a_loop_under_way_has_a_page_too(page):
    assert "The loop is under way" in page(FIRST)
