"""The page of a search among candidates."""

import pytest

from components.report.leaderboard_page import write_leaderboard_page
from tests.report.reading import places


def row(name, value, low, high, **more):
    scores = {"macro_f1": {"value": value, "low": low, "high": high}}
    scores["accuracy"] = {"value": 0.8, "low": 0.7, "high": 0.9}
    behind = {"value": 0.7 - value, "low": 0.68 - value, "high": 0.72 - value}
    known = {"name": name, "about": f"what {name} is", "status": "finished", "scores": scores}
    known |= {"behind": behind, "distinguishable": behind["low"] > 0, "seconds": 12.0}
    known |= {"training_seconds": 3.0, "latency_seconds": 0.0004, "reviews_per_second": 4350.2}
    known |= {"bytes": 2_500_000, "command": f"python -m components.automl --candidate {name}"}
    trials = [{"trial": 1, "parameters": {"alpha": 0.1}, "macro_f1": value, "seconds": 2.0}]
    return known | {"trials": trials} | more


@pytest.fixture
def read(page_of):
    def page(*rows, winner="linear", sentence="a and b are not distinguishable"):
        content = {"winner": winner, "sentence": sentence, "rows": list(rows)}
        content |= {"validation_rows": 1929, "classes": ["a", "b"]}
        return page_of(write_leaderboard_page, content)

    return page


def test_winner_intervals_and_cost_are_on_the_page(read):
    made = read(
        row("slow", 0.7, 0.67, 0.73), row("linear", 0.69, 0.66, 0.72), row("bad", 0.5, 0.4, 0.6)
    )
    assert "linear wins" in made.text
    assert "A and b are not distinguishable." in made.text
    for words in ("0.690", "0.660 to 0.720", "4,350", "2.5", "0.4"):
        assert words in made.text
    told = made.text
    assert told.index("the best") < told.index("not distinguishable; the cheapest of these")
    assert "worse" in told
    assert "--candidate linear" in told
    assert len(made.charts) == 2
    dots = places(made.charts[0], "positive")
    assert len(dots) >= 1
    assert "1,929" in told


def test_what_was_not_begun_says_why(read):
    reason = "needs about 9 min, and 1.0 s were left"
    other = {"name": "fine_tuned", "status": "not begun", "reason": reason, "trials": []}
    made = read(row("linear", 0.69, 0.66, 0.72), other | {"seconds": 1.0})
    assert "Needs about 9 min, and 1.0 s were left." in made.text
    assert "1 not begun or failed" in made.text


def test_names_and_reasons_are_text_and_no_markup(read):
    other = {"name": "<b>x</b>", "status": "failed", "reason": "<script>alert(1)</script>"}
    made = read(
        row("linear", 0.69, 0.66, 0.72, about="<i>a</i>"), other | {"trials": [], "seconds": 0}
    )
    assert "<script>alert(1)</script>" in made.text
    assert "<i>a</i>" in made.text
