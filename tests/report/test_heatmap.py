"""A map of numbers: darker where they are higher, empty where there is none."""

import math
import re
import xml.etree.ElementTree as ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from components.report.heatmap import heatmap
from tests.report.reading import check_chart

numbers = st.none() | st.floats(-1e9, 1e9) | st.just(math.nan) | st.just(math.inf)


def drawn(rows, columns, values, form="{:.2f}".format) -> ElementTree.Element:
    chart = ElementTree.fromstring(heatmap("t", rows, columns, values, form))
    check_chart(chart)
    return chart


def cells(chart) -> list[tuple[str, float | None]]:
    """Tooltip and opacity of each cell."""
    found = []
    for path in chart.iter("path"):
        opacity = re.search(r"opacity:([\d.]+)", path.get("style", ""))
        if path.findtext("title"):
            found.append((path.findtext("title"), float(opacity[1]) if opacity else None))
    return found


def words(chart) -> list[str]:
    return [text.text for text in chart.iter("text")]


def test_a_cell_has_its_number_and_is_darker_where_it_is_higher():
    chart = drawn(["a", "b"], ["x", "y"], [[0.1, 0.9], [None, 0.5]])
    tips, dark = zip(*cells(chart), strict=True)
    assert tips == ("a, x: 0.10", "a, y: 0.90", "b, x: no value", "b, y: 0.50")
    assert dark[0] < dark[3] < dark[1] < 0.6
    assert dark[2] is None
    assert sorted(words(chart)) == ["0.10", "0.50", "0.90", "a", "b", "x", "y"]
    assert chart.findtext("desc") == "a: x 0.10, y 0.90; b: x no value, y 0.50."


def test_nothing_to_show_is_empty():
    assert heatmap("t", [], [], [], str) == heatmap("t", ["a"], ["x"], [[None]], str) == ""
    assert heatmap("t", ["a"], ["x"], [[math.nan]], str) == ""


def test_many_columns_stand_on_their_side_and_keep_their_numbers_in_the_tooltips():
    columns = [f"class number {place}" for place in range(20)]
    chart = drawn(["a category"], columns, [[place * 1000.5 for place in range(20)]])
    assert all(name in words(chart) for name in columns)
    assert sum("rotate(-90)" in text.get("transform", "") for text in chart.iter("text")) == 20
    assert "1000.50" not in words(chart)
    assert cells(chart)[1][0] == "a category, class number 1: 1000.50"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_any_numbers_and_names_are_drawn(rows, columns, data):
    names = st.text(max_size=40)
    values = data.draw(
        st.lists(
            st.lists(numbers, min_size=columns, max_size=columns), min_size=rows, max_size=rows
        )
    )
    values[0][0] = 1.0
    heads = data.draw(st.lists(names, min_size=columns, max_size=columns))
    chart = drawn(["<script>"] * rows, heads, values)
    assert len(cells(chart)) == rows * columns
    assert "<script>" in words(chart)
