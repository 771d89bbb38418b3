"""Charts: finite coordinates inside the drawing, escaped words, nothing where there is nothing."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.report.charts import (
    HEIGHT,
    WIDTH,
    Series,
    column_chart,
    line_chart,
    nice_ticks,
    scale_chart,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def coordinates(svg):
    root = ElementTree.fromstring(str(svg))
    for element in root.iter():
        if element.tag == "polyline":
            for pair in element.attrib["points"].split():
                yield tuple(map(float, pair.split(",")))
        if element.tag == "circle":
            yield float(element.attrib["cx"]), float(element.attrib["cy"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_every_point_lies_inside_the_drawing(points):
    svg = line_chart("t", [Series("s", sorted(points), dots=True)], x_label="x", y_label="y")
    found = list(coordinates(svg))
    assert found
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in found)


@given(numbers, st.floats(1e-6, 1e6))
def test_ticks_are_inside_few_and_evenly_spaced(low, span):
    ticks = nice_ticks(low, low + span)
    assert 1 <= len(ticks) <= 8
    margin = span * 1e-6 + 1e-9 * abs(low)
    assert all(low - margin <= tick <= low + span + margin for tick in ticks)


def test_ticks_are_round():
    assert nice_ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(0, 10_700) == [0, 2500, 5000, 7500, 10_000]
    assert nice_ticks(3, 3) == [3]


def test_larger_values_stand_higher_and_further_right():
    svg = line_chart("t", [Series("s", [(0, 0), (1, 1)])], x_label="x", y_label="y")
    (x0, y0), (x1, y1) = list(coordinates(svg))[:2]
    assert x1 > x0
    assert y1 < y0


def test_points_that_are_not_finite_are_left_out():
    points = [(0, 1), (1, math.nan), (2, math.inf), (3, 2)]
    svg = line_chart("t", [Series("s", points)], x_label="x", y_label="y")
    assert len(list(coordinates(svg))) == 2


@pytest.mark.parametrize("points", [[], [(0, math.nan)]])
def test_nothing_to_draw_draws_nothing(points):
    assert line_chart("t", [Series("s", points)], x_label="x", y_label="y") == ""
    assert column_chart("t", [("a", 0)], x_label="x", y_label="y") == ""


def test_words_are_escaped():
    evil = '<script>"&'
    svgs = (
        line_chart(evil, [Series(evil, [(0, 1)], dots=True)], x_label=evil, y_label=evil),
        column_chart(evil, [(evil, 1)], x_label=evil, y_label=evil),
        scale_chart(evil, (0.5, 0.4, 0.6), [(0.3, evil, "threshold")]),
    )
    for svg in svgs:
        assert "<script" not in svg
        ElementTree.fromstring(str(svg))


def test_columns_are_as_high_as_their_values():
    svg = column_chart("t", [("a", 1), ("b", 2)], x_label="x", y_label="y")
    low, high = (float(height) for height in re.findall(r'height="([\d.]+)" rx', str(svg)))
    assert high == pytest.approx(2 * low, rel=0.01)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_scale_shows_score_and_marks_inside(value, threshold, baseline):
    svg = scale_chart(
        "t",
        (value, max(0, value - 0.02), min(1, value + 0.02)),
        [(baseline, "b", "baseline"), (threshold, "t", "threshold")],
    )
    root = ElementTree.fromstring(str(svg))
    for element in root.iter("line"):
        assert 0 <= float(element.attrib["x1"]) <= WIDTH
        assert 0 <= float(element.attrib["x2"]) <= WIDTH
