"""The A/B test's page says which arm won, by how much, and what it would take to know."""

import pytest

from components.deployment.judging.ab_analysis import Arm, Plan, analyse_ab
from components.deployment.judging.confidence_sequence import Count
from components.report.ab_test_page import write_ab_test_page


def result(right_a, right_b, n=2500, **plan):
    return analyse_ab(
        Arm("4", Count(right_a, n), Count(min(n, 10), 2 * n)),
        Arm("5", Count(right_b, n), Count(min(n, 12), 2 * n)),
        Plan(**({"baseline": 0.85} | plan)),
    ).to_dict()


B_WON, A_WON, EQUAL = result(2125, 2225), result(2225, 2125), result(425, 430, n=500)
BACK = "B, version 5, went back; A, version 4, stays"


@pytest.fixture
def page(page_of):
    def read(decision, compared=None, **more):
        reason = compared["reason"] if compared else "it was decided before"
        test = {"decision": decision, "reason": reason, "model_name": "reviews", "version": "5"}
        test |= {"stable_version": "4", "result": compared, "stopped": False, "asked": 0} | more
        return page_of(write_ab_test_page, test)

    return read


def test_the_winner_comes_first_with_its_numbers(page):
    read = page("promote", B_WON, asked=5012, unanswered=12, seconds=70.0)
    read.tells(
        *("B, version 5, is better and serves now", "Version 5 has all of the traffic."),
        *("85.0 %", "89.0 %", "+4.0", "Cohen's h", "z test of two proportions", "What was seen"),
        *("difference of 3 points from an accuracy of 85 %", "50 %", "2,500"),
        *("5,012 labelled reviews were sent", "in 70 s", "12 of them got no answer"),
    )
    titles = [chart.findtext("title").removesuffix(", difference") for chart in read.charts]
    assert titles == ["right answers on labelled reviews", "failed requests"]


@pytest.mark.parametrize(
    ("compared", "stopped", "title"),
    [
        (A_WON, False, "A, version 4, is better and stays"),
        (EQUAL, False, "Undecided: A, version 4, stays"),
        *((case, case is EQUAL, BACK) for case in (B_WON, EQUAL, None)),
    ],
)
def test_where_a_stays_the_title_says_why(page, compared, stopped, title):
    read = page("roll_back", compared, stopped=stopped)
    assert title in read.text
    assert "Version 4 has all of the traffic; version 5 was removed." in read.text
    assert ("stands on the service" in read.text) == (compared is None)


def test_what_would_be_needed_is_said(page):
    read = page("roll_back", EQUAL | {"power_of_sample": 0.27})
    assert f"{EQUAL['plan']['needed'][0]:,}" in read.text
    assert "show such a difference with a chance of 27 %" in read.text
    assert "How it went" not in read.text
    already = page("already_serving").text
    assert ("B, version 5, serves already" in already, "removed" in already) == (True, False)
    assert "The reviews at hand" not in page("roll_back", EQUAL | {"power_of_sample": None}).text


def test_an_empty_test_has_a_page(page):
    nothing = Arm("4", Count(0, 0), Count(0, 0))
    empty = analyse_ab(nothing, nothing, Plan(baseline=0.02, smallest_effect=0.03)).to_dict()
    for compared in (empty, result(0, 0, n=1)):
        assert "Undecided" in page("roll_back", compared).text


def test_texts_are_escaped(page):
    evil = "<script>x</script>"
    read = page("roll_back", B_WON, model_name=evil, version=evil, stable_version=evil, reason=evil)
    assert read.text.count(evil) >= 4
