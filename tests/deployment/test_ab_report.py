from html.parser import HTMLParser

import pytest

from components.deployment.ab_report import render_ab_report, write_ab_report
from components.deployment.ab_test import Arm, Plan, analyse_ab
from components.deployment.confidence_sequence import Count


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)


def result(right_a: int, right_b: int, n: int = 2500, version_b: str = "5", **plan):
    return analyse_ab(
        Arm("4", Count(right_a, n), Count(min(n, 10), 2 * n)),
        Arm(version_b, Count(right_b, n), Count(min(n, 12), 2 * n)),
        Plan(**({"baseline": 0.85} | plan)),
    )


def test_the_winner_comes_first_with_its_numbers(tmp_path):
    path = tmp_path / "ab.html"
    write_ab_report(result(2125, 2225), path, "reviews")
    html = path.read_text(encoding="utf-8")
    assert html.index("B, version 5, is better") < html.index("What was seen")
    for words in ("85.0 %", "89.0 %", "+4.0", "z test of two proportions", "Cohen", "2,500"):
        assert words in html
    tags = Tags()
    tags.feed(html)
    assert tags.seen.count("svg") == 2
    assert not {"script", "link", "img"} & set(tags.seen)
    assert "A, version 4, is better" in render_ab_report(result(2225, 2125), "reviews")


def test_what_would_be_needed_is_told():
    found = result(425, 430, n=500)
    html = render_ab_report(found, "reviews")
    assert "Undecided" in html
    assert f"{found.plan.needed[0]:,}" in html
    assert "with a chance of" in html


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_test_has_a_page(n):
    assert "Undecided" in render_ab_report(result(0, 0, n=n) if n else _empty(), "reviews")


def _empty():
    nothing = Arm("4", Count(0, 0), Count(0, 0))
    return analyse_ab(nothing, nothing, Plan(baseline=0.02, smallest_effect=0.03))


def test_texts_are_escaped():
    html = render_ab_report(result(2125, 2225, version_b="<script>x"), "<img src=x>")
    assert "<script" not in html
    assert "<img" not in html
