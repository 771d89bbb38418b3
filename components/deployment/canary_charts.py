"""The pictures of a rollout's report, as SVG: an interval against its limits, and its narrowing."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from components.deployment.judging.canary_analysis import Measure, Standing
from components.deployment.judging.confidence_sequence import Interval
from components.deployment.report_page import points

MOST_LOOKS_DRAWN = 150
"""A timeline of more looks is thinned out; the last look is always drawn."""

STANDING_IN_WORDS = {
    Standing.WITHIN: "within its limit",
    Standing.OPEN: "not settled",
    Standing.BEYOND: "beyond its limit",
}


def interval_chart(
    difference: float | None,
    interval: Interval,
    tolerated: Interval,
    standing: Standing,
    wide_interval: Interval | None = None,
) -> Markup:
    """A difference and its interval against what is tolerated, from left to right.

    Args:
        difference: Observed; None draws no dot.
        interval: Thick bar.
        tolerated: The green zone; ends at -1 or 1 are open. Without a limit there are no zones.
        standing: Chooses the colour.
        wide_interval: Thin line, where there is one.

    Returns:
        An `<svg>`.
    """
    width, height, top, bottom = 420.0, 54.0, 6.0, 34.0
    limits = [end for end in tolerated if abs(end) < 1]
    ends = [*(wide_interval or interval), *(1.6 * limit for limit in limits), *limits, 0.0]
    low, high = max(-1.0, min(ends)), min(1.0, max(ends))
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / (high - low) * (width - 8)

    middle = (top + bottom) / 2
    zones = [
        _rect("ko", x(low), top, x(high), bottom),
        _rect("ok", x(tolerated.low), top, x(tolerated.high), bottom),
    ]
    parts = [
        *(zones if limits else [_rect("plain", x(low), top, x(high), bottom)]),
        *(_line("limit", x(limit), top, x(limit), bottom) for limit in limits),
        _line("zero", x(0), top, x(0), bottom),
    ]
    if wide_interval is not None:
        left, right = map(x, wide_interval)
        parts.append(_line("wide", left, middle, right, middle))
        parts += [_line("wide", end, middle - 6, end, middle + 6) for end in (left, right)]
    parts.append(_line("narrow", x(interval.low), middle, x(interval.high), middle))
    if difference is not None:
        parts.append(
            Markup('<circle class="dot" cx="{}" cy="{}" r="5"/>').format(_n(x(difference)), middle)
        )
    placed: list[float] = []
    for value in (*limits, 0.0):
        if all(abs(x(value) - other) > 34 for other in placed):
            placed.append(x(value))
            parts.append(_text(x(value), height - 6, points(value)))
    return _svg(
        width,
        height,
        standing,
        f"difference {points(difference)}, interval {points(interval.low)} to "
        f"{points(interval.high)}, {STANDING_IN_WORDS[standing]}",
        parts,
    )


def funnel_chart(looks: Sequence[tuple[int, Measure]]) -> Markup:
    """The interval of a measure at each look: it narrows as requests come in.

    Args:
        looks: (canary requests, the measure then) of each look in order, at least one.

    Returns:
        An `<svg>`.
    """
    width, height, left, right, top, bottom = 320.0, 190.0, 44.0, 10.0, 8.0, 158.0
    every = max(1, len(looks) // MOST_LOOKS_DRAWN)
    drawn = [*looks[:-1:every], looks[-1]]
    last = drawn[-1][1]
    limits = [end for end in last.tolerated if abs(end) < 1]
    # The first intervals reach from -1 to 1; the picture is cut to where the later ones lie, and
    # not much beyond the last one and the limits.
    later = [measure.interval for _, measure in drawn[len(drawn) // 3 :]]
    span = 4 * max((abs(limit) for limit in limits), default=0.1)
    kept = [0.0, *last.interval, *(1.5 * limit for limit in limits)]
    low = max(min(*kept, *(one.low for one in later)), min(kept) - span)
    high = min(max(*kept, *(one.high for one in later)), max(kept) + span)
    most = max(requests for requests, _ in drawn) or 1

    def x(requests: float) -> float:
        return left + requests / most * (width - left - right)

    def y(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / ((high - low) or 1) * (bottom - top)

    parts = [
        _rect("ko", left, top, width - right, bottom),
        _rect("ok", left, y(last.tolerated.high), width - right, y(last.tolerated.low)),
    ]
    for style, values in (("limit", limits), ("zero", [0.0])):
        parts += [_line(style, left, y(value), width - right, y(value)) for value in values]
    upper = [(x(n), y(measure.interval.high)) for n, measure in drawn]
    lower = [(x(n), y(measure.interval.low)) for n, measure in drawn]
    parts += [
        Markup('<polygon class="band" points="{}"/>').format(_points_of([*upper, *lower[::-1]])),
        Markup('<polyline class="edge" points="{}"/>').format(_points_of(upper)),
        Markup('<polyline class="edge" points="{}"/>').format(_points_of(lower)),
    ]
    seen = [(x(n), y(m.difference)) for n, m in drawn if m.difference is not None]
    parts.append(Markup('<polyline class="line" points="{}"/>').format(_points_of(seen)))
    if seen:
        parts.append(
            Markup('<circle class="dot" cx="{}" cy="{}" r="4"/>').format(*map(_n, seen[-1]))
        )
    placed: list[float] = []
    for value in (*limits, 0.0, low, high):
        if all(abs(y(value) - other) > 13 for other in placed):
            placed.append(y(value))
            parts.append(_text(left - 6, y(value) + 4, points(value), "end"))
    parts.append(_text(left, height - 16, "0", "start"))
    parts.append(_text(width - right, height - 16, f"{most:,}", "end"))
    parts.append(_text((left + width - right) / 2, height - 3, "canary requests"))
    return _svg(
        width,
        height,
        last.standing,
        f"interval of {last.name} over {len(looks)} looks, at last {points(last.interval.low)} to "
        f"{points(last.interval.high)}",
        parts,
    )


def _svg(
    width: float, height: float, standing: Standing, described: str, parts: Sequence[Markup]
) -> Markup:
    """Drawn parts as a picture; screen readers read the description."""
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><g class="{}">{}</g></svg>'
    ).format(_n(width), _n(height), described, str(standing), Markup("").join(parts))


def _rect(style: str, left: float, top: float, right: float, bottom: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        style, _n(left), _n(top), _n(max(0.0, right - left)), _n(max(0.0, bottom - top))
    )


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        style, *map(_n, (x1, y1, x2, y2))
    )


def _text(x: float, y: float, words: str, anchor: str = "middle") -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        _n(x), _n(y), anchor, escape(words)
    )


def _points_of(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in places)


def _n(value: float) -> str:
    """A coordinate with one decimal."""
    return f"{value:.1f}".rstrip("0").rstrip(".")
