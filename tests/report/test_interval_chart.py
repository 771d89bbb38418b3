"""Intervals below each other: inside their frame, in the right place, words where no value is."""

import math
import xml.etree.ElementTree as ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from components.report.charts import Axis
from components.report.interval_chart import ROW, IntervalRow, interval_chart, shortened
from tests.report.reading import check_chart, places

numbers = st.none() | st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf)
ROWS = [
    IntervalRow("Dresses", 0.46, 0.4, 0.5, chance=0.42),
    IntervalRow("Trend", None, words="too few to say"),
    IntervalRow("Knits", 0.6, 0.55, 0.7, "negative"),
]


SHARE = Axis("share")


def drawn(rows, x=SHARE, reference=None) -> ElementTree.Element:
    svg = str(interval_chart("t", rows, x, reference))
    chart = ElementTree.fromstring(svg[: svg.index("</svg>") + 6])
    check_chart(chart)
    return chart


def words(chart) -> list[str]:
    return [text.text for text in chart.iter("text")]


def test_a_row_has_its_name_and_its_dot_on_its_line():
    chart = drawn(ROWS)
    assert {"Dresses", "Trend", "too few to say", "Knits", "share"} <= set(words(chart))
    line, dot = places(chart, "accent")
    assert line[0][0] < dot[0][0] < line[-1][0]
    line, dot = places(chart, "negative")
    assert line[0][0] < dot[0][0] < line[-1][0]
    assert dot[0][0] > places(chart, "accent")[1][0][0]
    tips = [circle.findtext("title") for circle in chart.findall("circle")]
    assert tips == ["Dresses: 0.46, 0.4 to 0.5, by chance 0.42", "Knits: 0.6, 0.55 to 0.7"]
    assert "Trend: too few to say" in chart.findtext("desc")


def test_the_chart_grows_with_its_rows_and_is_empty_without():
    heights = [float(drawn(rows).get("viewBox").split()[3]) for rows in (ROWS, ROWS * 2)]
    assert heights[1] - heights[0] == 3 * ROW
    assert interval_chart("t", [], Axis("x")) == ""


def test_the_reference_stands_between_lower_and_higher_values():
    lines = [path for path in places(drawn(ROWS, reference=0.52), "soft") if len(path) == 2]
    assert len(lines) == 2, "not through the words of a row without a value"
    chart = drawn(ROWS)
    assert places(chart, "accent")[1][0][0] < lines[0][0][0] < places(chart, "negative")[1][0][0]


def test_only_a_value_expected_by_chance_has_a_legend():
    assert "expected by chance" in interval_chart("t", ROWS, Axis("x"))
    assert "expected by chance" not in interval_chart("t", ROWS[1:], Axis("x"))


def test_what_lies_beyond_given_ends_is_drawn_at_the_end():
    far = IntervalRow("far", 7.0, 0.2, 9.0, chance=-3.0)
    chart = drawn([far], Axis("x", (0.0, 1.0)), reference=-1.0)
    _, _, width, _ = map(float, chart.get("viewBox").split())
    for role in ("accent", "ink", "soft"):
        assert all(0 <= x <= width for path in places(chart, role) for x, _ in path)
    assert "far: 7, 0.2 to 9" in chart.findtext("desc")


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.text(), numbers, numbers, numbers, numbers), min_size=1, max_size=8),
    numbers,
)
def test_any_numbers_and_names_are_drawn(given_rows, reference):
    rows = [IntervalRow(name, value, *ends, chance=by) for name, value, *ends, by in given_rows]
    chart = drawn(rows, reference=reference)
    finite = [row for row in rows if row.value is not None and math.isfinite(row.value)]
    assert len(chart.findall("circle")) == len(finite)
    assert words(chart).count("no value") >= len(rows) - len(finite)


def test_names_are_text_and_long_ones_are_cut():
    chart = drawn([IntervalRow("<script>", 1.0), IntervalRow("n" * 60, 2.0)])
    assert "<script>" in words(chart)
    assert max(map(len, words(chart))) < 30
    assert f"{'n' * 60}: 2" in chart.findtext("desc")


def test_wide_letters_get_more_room():
    def room(name):
        (text,) = [one for one in drawn([IntervalRow(name, 1.0)]).iter("text") if one.text == name]
        return float(text.get("x"))

    assert room("a" * 8) < room("\u0436" * 8) < room("\u88d9" * 8)
    assert len(shortened("\u88d9" * 30)) < len(shortened("a" * 30)) <= 22
