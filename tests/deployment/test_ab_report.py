from html.parser import HTMLParser

import pytest

from components.deployment.ab_report import render_ab_test, write_ab_test
from components.deployment.judging.ab_test import AbResult, Arm, Plan, analyse_ab
from components.deployment.judging.confidence_sequence import Count
from components.deployment.rollout_record import AbTest, Decision

PROMOTE, ROLL_BACK = Decision.PROMOTE, Decision.ROLL_BACK


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


def result(right_a: int, right_b: int, n: int = 2500, **plan: float) -> AbResult:
    return analyse_ab(
        Arm("4", Count(right_a, n), Count(min(n, 10), 2 * n)),
        Arm("5", Count(right_b, n), Count(min(n, 12), 2 * n)),
        Plan(**({"baseline": 0.85} | plan)),
    )


def ended(decision: Decision, found: AbResult | None = None, **more) -> AbTest:
    reason = found.reason if found else "it was decided before"
    return AbTest(decision, reason, "reviews", "5", "4", "Standard", found, **more)


B_WON, A_WON, EQUAL = result(2125, 2225), result(2225, 2125), result(425, 430, n=500)


def test_the_winner_comes_first_with_its_numbers(tmp_path):
    path = tmp_path / "ab.html"
    write_ab_test(ended(PROMOTE, B_WON, asked=5012, unanswered=12, seconds=70.0), path)
    html = path.read_text(encoding="utf-8")
    assert html.index("B, version 5, is better and serves now") < html.index("What was seen")
    for words in (
        "Version 5 has all of the traffic.",
        "85.0 %",
        "89.0 %",
        "+4.0",
        "z test of two proportions",
        "Cohen",
        "2,500",
        "5,012 labelled reviews were sent",
        "12 of them got no answer",
    ):
        assert words in html
    tags = Tags()
    tags.feed(html)
    assert tags.seen.count("svg") == 2
    assert not {"script", "link", "img"} & set(tags.seen)


@pytest.mark.parametrize(
    ("test", "title"),
    [
        (ended(ROLL_BACK, A_WON), "A, version 4, is better and stays"),
        (ended(ROLL_BACK, EQUAL), "Undecided: A, version 4, stays"),
        (ended(ROLL_BACK, B_WON), "B, version 5, went back; A, version 4, stays"),
        (ended(ROLL_BACK, EQUAL, stopped=True), "B, version 5, went back; A, version 4, stays"),
        (ended(ROLL_BACK), "B, version 5, went back; A, version 4, stays"),
    ],
)
def test_where_a_stays_the_title_says_why(test, title):
    page = render_ab_test(test)
    assert title in page
    assert "Version 4 has all of the traffic; version 5 was removed." in page
    assert ("stands on the service" in page) == (test.result is None)


def test_a_version_that_serves_already_is_told():
    page = render_ab_test(ended(Decision.ALREADY_SERVING))
    assert "B, version 5, serves already" in page
    assert "was removed" not in page


def test_what_would_be_needed_is_told():
    page = render_ab_test(ended(ROLL_BACK, EQUAL))
    assert f"{EQUAL.plan.needed[0]:,}" in page
    assert "with a chance of" in page
    assert "How it went" not in page


def test_an_empty_test_has_a_page():
    nothing = Arm("4", Count(0, 0), Count(0, 0))
    empty = analyse_ab(nothing, nothing, Plan(baseline=0.02, smallest_effect=0.03))
    for found in (empty, result(0, 0, n=1)):
        assert "Undecided" in render_ab_test(ended(ROLL_BACK, found))


def test_texts_are_escaped():
    page = render_ab_test(AbTest(ROLL_BACK, "<b>", "<i>", "<script>x", "<u>", "Standard", B_WON))
    for raw in ("<script", "<i>", "<u>"):
        assert raw not in page
    assert "&lt;script&gt;" in page
