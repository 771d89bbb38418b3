"""Charts as inline SVG that take their colours from the page, so that dark mode and print work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 440, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 14, 34, 44


@dataclass(frozen=True)
class Series:
    """A line or a row of points.

    Attributes:
        name: Shown in the legend.
        points: (x, y) in data units, by rising x.
        style: CSS class that gives the colour: `c1` to `c3`, `negative`, `neutral`, `positive`.
        dots: Whether each point is drawn.
        dashed: Whether the line is dashed.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "c1"
    dots: bool = False
    dashed: bool = False


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover a range: steps of 1, 2, 2.5 or 5 times a power of ten.

    Args:
        low: Smallest value shown.
        high: Largest value shown.
        about: How many ticks are wanted.

    Returns:
        Ticks inside the range, ascending; one where the range is a point.
    """
    if not high > low:
        return [low]
    raw = (high - low) / max(1, about)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    mark_x: tuple[float, str] | None = None,
    diagonal: bool = False,
) -> Markup:
    """Lines over a shared pair of axes.

    Args:
        title: Read out by screen readers.
        series: Lines; points that are not finite are left out.
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        x_range: Ends of the x axis; those of the data where None.
        y_range: Ends of the y axis; those of the data with a margin where None.
        mark_x: A vertical line at x with a word beside it.
        diagonal: Whether to draw y = x as reference.

    Returns:
        An `<svg>`; empty where there is no point.
    """
    drawn = [
        (one, [(x, y) for x, y in one.points if math.isfinite(x) and math.isfinite(y)])
        for one in series
    ]
    drawn = [(one, points) for one, points in drawn if points]
    if not drawn:
        return Markup("")
    frame = _Frame(
        x_range or _extent([x for _, points in drawn for x, _ in points], 0.0),
        y_range or _extent([y for _, points in drawn for _, y in points], 0.08),
    )
    body = [frame.axes(x_label, y_label)]
    if diagonal:
        body.append(frame.diagonal())
    if mark_x is not None:
        body.append(frame.mark(*mark_x))
    for one, points in drawn:
        style = f"{one.style} dashed" if one.dashed else one.style
        if len(points) > 1:
            body.append(frame.line(points, style))
        if one.dots or len(points) == 1:
            body.extend(frame.dot(x, y, one) for x, y in points)
    body.append(_legend([one for one, _ in drawn]))
    described = f"{title}: {', '.join(one.name for one, _ in drawn)}; x is {x_label}, y {y_label}."
    return _svg(title, described, body)


def column_chart(
    title: str,
    columns: Sequence[tuple[str, float]],
    *,
    x_label: str,
    y_label: str,
    styles: Sequence[str] | None = None,
) -> Markup:
    """Vertical bars with a name below each.

    Args:
        title: Read out by screen readers.
        columns: (name, value of at least 0).
        x_label: What the names are.
        y_label: What the values are, with their unit.
        styles: CSS class of each bar; `c1` where None.

    Returns:
        An `<svg>`; empty where all bars are.
    """
    if not any(value > 0 for _, value in columns):
        return Markup("")
    frame = _Frame((0, len(columns)), (0, max(value for _, value in columns) * 1.08), top=8)
    body = [frame.axes("", y_label, x_ticks=False)]
    # Names that would run into each other are thinned out.
    widest = max(len(name) for name, _ in columns)
    every = max(1, math.ceil(len(columns) * widest * 9 / (WIDTH - _LEFT - _RIGHT)))
    for index, (name, value) in enumerate(columns):
        style = styles[index] if styles else "c1"
        left, right = frame.x(index + 0.1), frame.x(index + 0.9)
        top, bottom = frame.y(value), frame.y(0)
        body.append(
            Markup(
                '<rect class="bar {}" x="{}" y="{}" width="{}" height="{}" rx="1.5">'
                "<title>{}: {}</title></rect>"
            ).format(
                style, _n(left), _n(top), _n(right - left), _n(bottom - top), name, f"{value:,.0f}"
            )
        )
        if index % every == 0:
            body.append(_text(frame.x(index + 0.5), bottom + 15, name, "middle"))
    body.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x_label, "middle", "label"))
    listed = ", ".join(f"{name} {value:,.0f}" for name, value in columns)
    return _svg(title, f"{title}: {listed}.", body)


def scale_chart(
    title: str,
    estimate: tuple[float, float, float],
    marks: Sequence[tuple[float, str, str]],
    style: str = "c1",
) -> Markup:
    """A score with its interval on a line from left to right, beside what it is measured by.

    Args:
        title: Read out by screen readers.
        estimate: Value, low and high end of its interval, each a share.
        marks: (share, words, CSS class) of each mark; the first is written above the line, the
            second below.
        style: CSS class of the score.

    Returns:
        An `<svg>`.
    """
    height, line = 96, 48
    shares = [*estimate, *(share for share, _, _ in marks)]
    low = max(0.0, math.floor((min(shares) - 0.04) * 20) / 20)
    high = min(1.0, math.ceil((max(shares) + 0.04) * 20) / 20)

    def x(share: float) -> float:
        return 16 + (share - low) / max(high - low, 1e-9) * (WIDTH - 32)

    value, left, right = estimate
    body = [
        Markup('<line class="track" x1="16" y1="{0}" x2="{1}" y2="{0}"/>').format(line, WIDTH - 16),
        Markup('<line class="interval {}" x1="{}" y1="{line}" x2="{}" y2="{line}"/>').format(
            style, _n(x(left)), _n(x(right)), line=line
        ),
        Markup('<circle class="dot {}" cx="{}" cy="{}" r="7"/>').format(style, _n(x(value)), line),
        _text(16, height - 4, f"{low:.2f}", "start", "tick"),
        _text(WIDTH - 16, height - 4, f"{high:.2f}", "end", "tick"),
    ]
    for number, (share, words, mark_style) in enumerate(marks):
        place = x(share)
        anchor = "start" if place < WIDTH * 0.25 else "end" if place > WIDTH * 0.75 else "middle"
        body.append(
            Markup('<line class="mark {}" x1="{x}" y1="{}" x2="{x}" y2="{}"/>').format(
                mark_style, line - 14, line + 14, x=_n(place)
            )
        )
        body.append(_text(place, line + (-22, 31)[number % 2], words, anchor, "label"))
    described = "; ".join(words for _, words, _ in marks)
    return _svg(
        title,
        f"{title}: {value:.3f}, interval {left:.3f} to {right:.3f}; {described}.",
        body,
        height,
    )


class _Frame:
    """Axes: from data units to places in the drawing."""

    def __init__(
        self, x_range: tuple[float, float], y_range: tuple[float, float], top: int = _TOP
    ) -> None:
        self._x_low, self._x_high = x_range
        self._y_low, self._y_high = y_range
        self._top = top

    def x(self, value: float) -> float:
        """Place of an x value."""
        share = (value - self._x_low) / ((self._x_high - self._x_low) or 1)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Place of a y value; up is smaller."""
        share = (value - self._y_low) / ((self._y_high - self._y_low) or 1)
        return HEIGHT - _BOTTOM - share * (HEIGHT - self._top - _BOTTOM)

    def axes(self, x_label: str, y_label: str, *, x_ticks: bool = True) -> Markup:
        """Grid, ticks and labels."""
        parts = []
        for tick in nice_ticks(self._y_low, self._y_high):
            parts.append(
                Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                    _LEFT, WIDTH - _RIGHT, y=_n(self.y(tick))
                )
            )
            parts.append(_text(_LEFT - 7, self.y(tick) + 4, _tick_words(tick), "end", "tick"))
        if x_ticks:
            parts.extend(
                _text(self.x(tick), HEIGHT - _BOTTOM + 16, _tick_words(tick), "middle", "tick")
                for tick in nice_ticks(self._x_low, self._x_high)
            )
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(_text(middle, HEIGHT - 6, x_label, "middle", "label"))
        parts.append(
            Markup(
                '<text class="label" text-anchor="middle" transform="translate(12 {}) '
                'rotate(-90)">{}</text>'
            ).format(_n((self._top + HEIGHT - _BOTTOM) / 2), y_label)
        )
        return Markup("").join(parts)

    def line(self, points: Sequence[tuple[float, float]], style: str) -> Markup:
        """A polyline."""
        places = " ".join(f"{_n(self.x(x))},{_n(self.y(y))}" for x, y in points)
        return Markup('<polyline class="line {}" points="{}"/>').format(style, places)

    def diagonal(self) -> Markup:
        """The line y = x inside the frame."""
        ends = max(self._x_low, self._y_low), min(self._x_high, self._y_high)
        return self.line([(end, end) for end in ends], "reference")

    def dot(self, x: float, y: float, series: Series) -> Markup:
        """A point that says its numbers when pointed at."""
        return Markup(
            '<circle class="dot {}" cx="{}" cy="{}" r="3.5"><title>{}: {}, {}</title></circle>'
        ).format(series.style, _n(self.x(x)), _n(self.y(y)), series.name, f"{x:.4g}", f"{y:.4g}")

    def mark(self, x: float, words: str) -> Markup:
        """A vertical line with a word at its top."""
        place = self.x(x)
        anchor = "end" if place > WIDTH * 0.6 else "start"
        shift = -5 if anchor == "end" else 5
        return Markup('<line class="mark" x1="{x}" x2="{x}" y1="{}" y2="{}"/>{}').format(
            self._top,
            HEIGHT - _BOTTOM,
            _text(place + shift, self._top + 10, words, anchor, "label"),
            x=_n(place),
        )


def _extent(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Smallest and largest value with a margin; never a single point."""
    low, high = min(values), max(values)
    pad = (high - low) * margin or (0.0 if high > low else max(abs(low), 1.0) * 0.1)
    return low - pad, high + pad


def _legend(series: Sequence[Series]) -> Markup:
    """Names of the lines above the plot."""
    parts, place = [], float(_LEFT)
    for one in series:
        dashed = " dashed" if one.dashed else ""
        parts.append(
            Markup('<line class="line {}{}" x1="{}" x2="{}" y1="14" y2="14"/>').format(
                one.style, dashed, _n(place), _n(place + 16)
            )
        )
        parts.append(_text(place + 21, 18, one.name, "start"))
        place += 21 + 8.2 * len(one.name) + 16
    return Markup("").join(parts)


def _svg(title: str, described: str, body: Sequence[Markup], height: int = HEIGHT) -> Markup:
    """Wrap drawn parts; the description is what a screen reader says instead."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, height, described or title, Markup("").join(body))


def _text(x: float, y: float, words: str, anchor: str, style: str = "") -> Markup:
    """A line of text."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        style, _n(x), _n(y), anchor, escape(words)
    )


def _n(value: float) -> str:
    """A coordinate with one decimal."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _tick_words(value: float) -> str:
    """A tick as people write it: thousands with a comma, no needless decimals."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:g}"
