from xml.etree import ElementTree

from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.canary_charts import MOST_LOOKS_DRAWN, funnel_chart, interval_chart
from components.deployment.judging.canary_analysis import Measure, Standing
from components.deployment.judging.confidence_sequence import Count, Interval, difference_interval

shares = st.floats(-1, 1)
intervals = st.tuples(shares, shares).map(lambda ends: Interval(*sorted(ends)))


@settings(deadline=None)
@given(
    st.one_of(st.none(), shares),
    intervals,
    st.sampled_from([Interval(-1, 0.02), Interval(-0.1, 0.1), Interval(-0.03, 1), Interval(-1, 1)]),
    st.one_of(st.none(), intervals),
)
def test_an_interval_is_drawn_inside_its_picture(difference, interval, tolerated, wide):
    svg = ElementTree.fromstring(
        interval_chart(difference, interval, tolerated, Standing.OPEN, wide)
    )
    width = float(svg.get("viewBox").split()[2])
    for one in svg.iter():
        for name in ("x", "x1", "x2", "cx"):
            if one.get(name) is not None:
                assert 0 <= float(one.get(name)) <= width
    assert (svg.find(".//circle") is None) == (difference is None)


def measure(happened: int, of: int) -> Measure:
    tolerated = Interval(-1, 0.02)
    interval = difference_interval(Count(of // 10, 9 * of), Count(happened, of))
    return Measure(
        "failed", Count(of // 10, 9 * of), Count(happened, of), tolerated, interval, interval
    )


def test_the_dot_lies_right_of_the_limit_where_the_difference_is_larger():
    for difference, side in ((0.05, 1), (-0.05, -1)):
        svg = ElementTree.fromstring(
            interval_chart(difference, Interval(-0.1, 0.2), Interval(-1, 0.02), Standing.OPEN)
        )
        limit = next(one for one in svg.iter("line") if one.get("class") == "limit")
        assert side * (float(svg.find(".//circle").get("cx")) - float(limit.get("x1"))) > 0


def test_the_funnel_narrows_and_is_thinned_out():
    looks = [(n, measure(n // 5, n)) for n in range(10, 20_010, 20)]
    svg = ElementTree.fromstring(funnel_chart(looks))
    upper, lower = (
        [tuple(map(float, point.split(","))) for point in one.get("points").split()]
        for one in svg.iter("polyline")
        if one.get("class") == "edge"
    )
    assert len(upper) == len(lower) <= MOST_LOOKS_DRAWN * 2
    heights = [low[1] - high[1] for high, low in zip(upper, lower, strict=True)]
    assert heights[-1] < heights[len(heights) // 4] / 1.5
    assert upper[-1][0] == max(x for x, _ in upper)
    assert min(y for _, y in upper) >= 0


def test_a_funnel_of_one_empty_look_can_be_drawn():
    ElementTree.fromstring(funnel_chart([(0, measure(0, 0))]))
