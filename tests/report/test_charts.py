"""Charts: inside their frame, in the page's colours, with any words and any numbers."""

import math
import re
import warnings
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.report.charts import Axis, Series, column_chart, line_chart, scale_chart
from components.report.differences import MOST_LOOKS_DRAWN, funnel_chart, interval_chart
from components.report.palette import COLOURS, css_variables
from tests.report.reading import check_chart, places

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e6, 1e6)
shares = st.floats(-1, 1)
intervals = st.tuples(shares, shares).map(sorted)
LONG = "a measure with a very long name, and then some more of it " * 4
TOLERATED = [(-1, 0.02), (-0.1, 0.1), (-0.03, 1), (-1, 1)]
looks = st.tuples(st.integers(0, 10**6), intervals, st.none() | shares)
few = settings(max_examples=15, deadline=None)


def drawn(markup) -> ElementTree.Element:
    (svg,) = re.findall(r"<svg.*</svg>", str(markup))
    chart = ElementTree.fromstring(svg)
    check_chart(chart)
    return chart


def inside(chart: ElementTree.Element) -> bool:
    _, _, width, height = map(float, chart.get("viewBox").split())
    return all(
        -1 <= x <= width + 1 and -1 <= y <= height + 1
        for role in COLOURS
        for shape in places(chart, role)
        for x, y in shape
    )


def lines(*points, **more):
    return line_chart("t", [Series("s", points, **more)], Axis("x"), Axis("y"))


def measure(difference=0.01, interval=(-0.05, 0.08), **more):
    told = {"name": "failed requests", "difference": difference, "interval": interval}
    return told | {"wide_interval": None, "tolerated": (-1.0, 0.02), "standing": "open"} | more


@few
@given(st.lists(st.tuples(numbers, numbers), max_size=20), st.booleans())
def test_any_points_are_drawn_inside_and_those_not_finite_are_left_out(points, dashed):
    finite = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if any(abs(value) > 1e12 for point in finite for value in point):
        finite = points = [(0.0, 1.0)]
    svg = lines(*sorted(points), dots=True, dashed=dashed)
    assert bool(svg) == bool(finite)
    if finite:
        chart = drawn(svg)
        assert inside(chart)
        assert len(chart.findall("circle")) == len(finite)


def test_a_point_says_its_numbers_and_the_chart_what_it_shows():
    chart, again = (drawn(lines((250, 0.5), (1449, 0.25), dots=True)) for _ in range(2))
    assert ElementTree.tostring(chart) == ElementTree.tostring(again)
    (x0, y0), (x1, y1) = places(chart, "accent")[0]
    assert (x1 > x0, y1 > y0) == (True, True), "rightwards, and downwards on a page"
    tips = [circle.findtext("title") for circle in chart.findall("circle")]
    assert tips == ["s: 250, 0.5", "s: 1449, 0.25"]
    assert chart.findtext("desc") == "s; from left to right x, upwards y."
    ticks = [text.text for text in chart.iter("text")]
    assert {"1,000", "0.5", "x", "y"} <= set(ticks)


def test_nothing_to_draw_draws_nothing():
    assert lines() == lines((0, math.nan)) == ""
    assert column_chart("t", [], "x", "y") == column_chart("t", [("a", 0)], "x", "y") == ""


@pytest.mark.parametrize("words", ['<script>"&', LONG, "a\x00\x1b", "$x^2$ \\alpha", "评论 ★ 😀"])
def test_any_words_are_written_as_they_are(words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts = (
            lines((0, 1), (1, 2), dots=True),
            line_chart(words, [Series(words, [(0, 1)])] * 2, Axis(words), Axis(words)),
            column_chart(words, [(words, 1)] * 3, words, words),
            scale_chart(words, (0.5, 0.4, 0.6), [(0.3, words, True)], "positive"),
            interval_chart(measure(name=words)),
            funnel_chart([(3, measure(name=words)), (9, measure(name=words))]),
        )
    for chart in charts:
        assert "<script" not in chart
        drawn(chart)
    assert words.replace("\x00\x1b", "") in "".join(drawn(charts[2]).itertext())


def test_bars_are_as_high_as_their_values_and_their_names_are_thinned_out():
    chart = drawn(column_chart("t", [("a", 1), ("b", 2)], "x", "y", ["negative", "positive"]))
    bars = (places(chart, role)[0] for role in ("negative", "positive"))
    low, high = (max(y for _, y in bar) - min(y for _, y in bar) for bar in bars)
    assert high == pytest.approx(2 * low, rel=0.01)
    assert [path.findtext("title") for path in chart.findall("path")][-2:] == ["a: 1", "b: 2"]
    many = column_chart("t", [(f"{number:,}", 1) for number in range(1000, 9000, 100)], "", "")
    assert 3 <= len(list(drawn(many).iter("text"))) < 20


@few
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_scale_shows_score_and_marks_inside(value, threshold, baseline):
    estimate = value, max(0, value - 0.02), min(1, value + 0.02)
    marks = [(baseline, "b", False), (threshold, "t", True)]
    assert inside(drawn(scale_chart("t", estimate, marks, "positive")))


@few
@given(st.lists(looks, min_size=1), st.sampled_from(TOLERATED), st.none() | intervals)
def test_a_difference_and_its_course_are_drawn_inside(course, tolerated, wide):
    limits = {"tolerated": tolerated, "wide_interval": wide}
    seen = [(n, measure(difference, ends, **limits)) for n, ends, difference in course]
    chart = drawn(interval_chart(seen[0][1]))
    assert inside(chart)
    assert len(chart.findall("circle")) == (course[0][2] is not None)
    assert inside(drawn(funnel_chart(sorted(seen, key=lambda look: look[0]))))


@pytest.mark.parametrize(("difference", "side"), [(0.05, 1), (-0.05, -1)])
def test_the_dot_lies_on_its_side_of_the_limit(difference, side):
    chart = drawn(interval_chart(measure(difference, (-0.1, 0.2))))
    ((limit, _), _), ((dot, _),) = places(chart, "negative")[0], places(chart, "accent")[-1]
    assert side * (dot - limit) > 0


def test_a_funnel_narrows_and_is_thinned_out():
    course = [(n, measure(interval=(-(n**-0.5), n**-0.5))) for n in range(10, 20_010, 20)]
    _, upper, lower, line, dot = places(drawn(funnel_chart(course)), "accent")
    assert len(upper) <= MOST_LOOKS_DRAWN + 1
    assert upper[-1][0] == lower[-1][0] == max(x for x, _ in upper)
    assert lower[-1][1] - upper[-1][1] < (lower[0][1] - upper[0][1]) / 2
    assert line[-1] == pytest.approx(dot[0], abs=0.2)


def test_the_palette_gives_light_and_dark_to_each_role():
    light = [pair[0] for pair in COLOURS.values()]
    assert len(set(light)) == len(light), "a chart's colour is looked up by its light one"
    for name, pair in COLOURS.items():
        assert all(f"--{name}:{colour};" in css_variables() for colour in pair)
