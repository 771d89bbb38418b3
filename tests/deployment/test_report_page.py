import pytest

from components.deployment.judging.confidence_sequence import Count
from components.deployment.report_page import Page, Section, percent, points, rate_cell


@pytest.mark.parametrize(
    ("difference", "told"),
    [(0.0123, "+1.2"), (-0.5, "\N{MINUS SIGN}50"), (-0.0004, "0"), (None, "unknown")],
)
def test_a_difference_is_told_in_points_with_its_sign(difference, told):
    assert points(difference) == told


def test_a_rate_stands_above_its_counts():
    assert rate_cell(Count(250, 2000)) == "12.5 %<small>250 of 2,000</small>"
    assert percent(Count(0, 0)) == "none"


def test_texts_are_escaped_and_bodies_are_not():
    section = Section("<h>", "<t>", rate_cell(Count(1, 2)))
    evil = "<script>"
    page = Page("good", evil, evil, evil, [(evil, evil, evil)], [section], [evil])
    html = page.render()
    assert evil not in html
    assert "<small>1 of 2</small>" in html
    assert "&lt;h&gt;" in html
