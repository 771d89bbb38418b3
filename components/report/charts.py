"""Lines, bars and scales as inline SVG; a chart without data is empty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from components.report.drawing import TEXT_SIZE, TICK_SIZE, Drawing, dot, drawing, ink
from components.report.formats import readable, tick

WIDTH, HEIGHT = 440, 250
_DOTTED: dict[str, Any] = {"color": ink("soft"), "lw": 1.4, "ls": (0, (3, 3))}


@dataclass(frozen=True)
class Series:
    """A line: its (x, y) by rising x, and its colour's role in the palette."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str = "accent"
    dots: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """What is shown along an axis, with its unit; its ends if they are not those of the data."""

    label: str
    ends: tuple[float, float] | None = None


def line_chart(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    mark: tuple[float, str] | None = None,
    diagonal: bool = False,
) -> Markup:
    """Lines over one pair of axes, with a legend where there are several.

    Args:
        title: Read out by screen readers.
        series: Lines; points that are not finite are left out.
        x: The axis from left to right.
        y: The axis from bottom to top.
        mark: A vertical line at an x, and the word beside it.
        diagonal: Whether to draw y = x for reference.

    Returns:
        Legend and `<svg>`; empty if no point is finite.
    """
    shown = [
        (line, [(a, b) for a, b in line.points if math.isfinite(a) and math.isfinite(b)])
        for line in series
    ]
    shown = [(line, places) for line, places in shown if places]
    if not shown:
        return Markup("")
    with drawing(WIDTH, HEIGHT, (60, 14, 12, 44)) as chart:
        axes = chart.axes
        axes.set_xlim(*(x.ends or _extent([a for _, places in shown for a, _ in places], 0.0)))
        axes.set_ylim(*(y.ends or _extent([b for _, places in shown for _, b in places], 0.08)))
        _label(chart, x.label, y.label)
        if diagonal:
            ends = axes.get_xlim(), axes.get_ylim()
            reference = max(low for low, _ in ends), min(high for _, high in ends)
            axes.plot(reference, reference, color=ink("soft"), lw=1, ls=(0, (2, 4)))
        if mark is not None:
            _mark(chart, *mark)
        for line, places in shown:
            style = (0, (5, 4)) if line.dashed else "-"
            if len(places) > 1:
                axes.plot(*zip(*places, strict=True), color=ink(line.colour), lw=2.2, ls=style)
            if line.dots or len(places) == 1:
                (dots,) = axes.plot(*zip(*places, strict=True), **dot(line.colour))
                chart.tips(dots, [f"{line.name}: {a:.4g}, {b:.4g}" for a, b in places])
        names = ", ".join(line.name for line, _ in shown)
        description = f"{names}; from left to right {x.label}, upwards {y.label}."
        svg = chart.svg(title, description)
    return svg if len(shown) == 1 else _legend([line for line, _ in shown]) + svg


def column_chart(
    title: str,
    columns: Sequence[tuple[str, float]],
    x_label: str,
    y_label: str,
    colours: Sequence[str] = (),
) -> Markup:
    """Bars from left to right with a name below each; empty if no value is above 0."""
    heights = [value if math.isfinite(value) and value > 0 else 0.0 for _, value in columns]
    if not any(heights):
        return Markup("")
    with drawing(WIDTH, HEIGHT, (60, 14, 8, 44)) as chart:
        axes = chart.axes
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(0, max(heights) * 1.08)
        drawn = [ink(colour) for colour in colours] or ink("accent")
        bars = axes.bar(range(len(columns)), heights, 0.8, color=drawn)
        for bar, (name, value) in zip(bars, columns, strict=True):
            chart.tips(bar, [f"{name}: {value:,.0f}"])
        _label(chart, x_label, y_label)
        # Names that would run into each other are thinned out.
        widest = max(len(name) for name, _ in columns)
        every = max(1, math.ceil(len(columns) * widest * 10 / (WIDTH - 74)))
        places = range(0, len(columns), every)
        axes.set_xticks(places, [columns[place][0] for place in places])
        listed = ", ".join(f"{name} {value:,.0f}" for name, value in columns)
        return chart.svg(title, f"{listed}.")


def scale_chart(
    title: str,
    estimate: tuple[float, float, float],
    marks: Sequence[tuple[float, str, bool]],
    colour: str,
) -> Markup:
    """A score with its interval on a line from left to right, beside what it is measured by.

    Args:
        title: Read out by screen readers.
        estimate: Value, low and high end of its interval, each a share.
        marks: (share, words, whether it is a threshold); written above and below the line in turn.
        colour: Role of the score's colour.
    """
    shares = [*estimate, *(share for share, _, _ in marks)]
    low = max(0.0, math.floor((min(shares) - 0.04) * 20) / 20)
    high = min(1.0, math.ceil((max(shares) + 0.04) * 20) / 20)
    value, left, right = estimate
    with drawing(WIDTH, 92, (16, 16, 0, 0)) as chart:
        axes = chart.axes
        axes.set_axis_off()
        axes.set_xlim(low, max(high, low + 1e-9))
        axes.set_ylim(0, 92)
        axes.plot((low, high), (46, 46), color=ink("rule"), lw=6, solid_capstyle="round")
        axes.plot((left, right), (46, 46), color=ink(colour), lw=6, alpha=0.45)
        for number, (share, words, threshold) in enumerate(marks):
            style = {"color": ink("ink"), "lw": 2} if threshold else _DOTTED
            axes.plot((share, share), (32, 60), **style)
            place = (share - low) / max(high - low, 1e-9)
            align = "left" if place < 0.25 else "right" if place > 0.75 else "center"
            _write(chart, share, (68, 16)[number % 2], words, align)
        axes.plot([value], [46], **dot(colour, 14))
        _write(chart, low, 2, f"{low:.2f}", "left", TICK_SIZE)
        _write(chart, high, 2, f"{high:.2f}", "right", TICK_SIZE)
        description = "".join(f"; {words}" for _, words, _ in marks)
        return chart.svg(title, f"{value:.3f}, interval {left:.3f} to {right:.3f}{description}.")


def _label(chart: Drawing, x_label: str, y_label: str) -> None:
    """Words along the axes, round numbers at them, and a grid of horizontal lines."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = chart.axes
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.yaxis.grid(visible=True, color=ink("rule"), lw=1)
    axes.set_axisbelow(True)
    inner = axes.get_position()
    style = {"fontsize": TEXT_SIZE, "color": ink("soft")}
    axes.set_xlabel(x_label, **style)
    axes.xaxis.set_label_coords(0.5, -24 / (inner.height * chart.height))
    axes.set_ylabel(y_label, **style)
    axes.yaxis.set_label_coords(-44 / (inner.width * chart.width), 0.5)


def _mark(chart: Drawing, place: float, words: str) -> None:
    """A vertical line with a word at its top."""
    low, high = chart.axes.get_xlim()
    bottom, top = chart.axes.get_ylim()
    chart.axes.plot((place, place), (bottom, top), **_DOTTED)
    right = place > low + 0.6 * (high - low)
    shift = (high - low) * (-0.012 if right else 0.012)
    _write(chart, place + shift, top - 0.05 * (top - bottom), words, "right" if right else "left")


def _write(
    chart: Drawing, x: float, y: float, words: str, side: str, size: Any = TEXT_SIZE
) -> None:
    chart.axes.text(x, y, words, ha=side, va="baseline", fontsize=size, color=ink("soft"))


def _legend(series: Sequence[Series]) -> Markup:
    """Names of the lines, in the page's text, so that they wrap."""
    name = Markup(
        '<span><span class="key-line" style="border-top:2.5px {} var(--{})"></span>{}</span>'
    )
    names = (
        name.format("dashed" if line.dashed else "solid", line.colour, readable(line.name))
        for line in series
    )
    return Markup('<p class="legend">{}</p>').format(Markup("").join(names))


def _extent(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Smallest and largest value with a margin; never a single point."""
    low, high = min(values), max(values)
    pad = (high - low) * margin or (0.0 if high > low else max(abs(low), 1.0) * 0.1)
    return low - pad, high + pad
