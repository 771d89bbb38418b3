"""Values with their intervals, one below the other, as inline SVG: who differs, and how surely."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from components.report.charts import WIDTH, Axis
from components.report.drawing import TEXT_SIZE, TICK_SIZE, Drawing, dot, drawing, ink
from components.report.formats import readable, tick

ROW, BELOW, ABOVE = 26, 42, 6
_WIDEST_NAME = 176


@dataclass(frozen=True)
class IntervalRow:
    """A value with the ends of its interval; where it has none, `words` say why.

    `chance` is what would be seen if nothing but chance were at work; `colour` is a palette role.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    colour: str = "accent"
    chance: float | None = None
    words: str = ""


def interval_chart(
    title: str, rows: Sequence[IntervalRow], x: Axis, reference: float | None = None
) -> Markup:
    """A row each: its name, a dot at its value, and a line from low to high.

    Args:
        title: Read out by screen readers.
        rows: From top to bottom; a number that is not finite counts as none.
        x: The axis from left to right; what lies beyond given ends is drawn at the end.
        reference: Where a vertical line stands, such as the value of all rows together.

    Returns:
        `<svg>`, below it a legend if a row has a value expected by chance; empty without rows.
    """
    if not rows:
        return Markup("")
    low, high = x.ends or _extent(rows, reference)
    left = max(width_of(shortened(row.name)) for row in rows) + 14
    height = ABOVE + ROW * len(rows) + BELOW
    with drawing(WIDTH, height, (left, 14, ABOVE, BELOW)) as chart:
        axes = chart.axes
        axes.set_xlim(low, high)
        axes.set_ylim(ROW * len(rows), 0)
        _frame(chart, rows, x.label)
        for number, row in enumerate(rows):
            if finite(reference) is not None and finite(row.value) is not None:
                place = (min(max(reference, low), high),) * 2
                edges = ROW * number, ROW * (number + 1)
                axes.plot(place, edges, color=ink("soft"), lw=1.4, ls=(0, (3, 3)))
            _draw(chart, row, ROW * (number + 0.5), (low, high))
        words = "; ".join(map(_row_in_words, rows))
        svg = chart.svg(title, f"{x.label}: {words}." if x.label else f"{words}.")
    if all(finite(row.chance) is None for row in rows):
        return svg
    return svg + Markup(
        '<p class="legend"><span><span class="key-tick"></span>expected by chance</span></p>'
    )


def shortened(name: str, widest: float = _WIDEST_NAME) -> str:
    """A name that fits beside a chart; its end is cut off where it does not."""
    name = readable(name)
    if width_of(name) <= widest:
        return name
    while name and width_of(name) > widest - 8:
        name = name[:-1]
    return name.rstrip() + "…"


def width_of(text: str) -> float:
    """About how wide a text is, at the size that a narrow screen shows."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    ascii_letters = len(text.encode("ascii", "ignore"))
    return 8 * ascii_letters + 16 * wide + 10 * (len(text) - ascii_letters - wide)


def _frame(chart: Drawing, rows: Sequence[IntervalRow], label: str) -> None:
    """Names at the left, round numbers below, and a grid of vertical lines."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes = chart.axes
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axes.xaxis.grid(visible=True, color=ink("rule"), lw=1)
    axes.set_axisbelow(True)
    beside = axes.get_yaxis_transform()
    style = {"ha": "right", "va": "baseline", "fontsize": TEXT_SIZE, "color": ink("ink")}
    inner = axes.get_position().width * chart.width
    for number, row in enumerate(rows):
        place = ROW * (number + 0.5) + 4.5
        axes.text(-10 / inner, place, shortened(row.name), transform=beside, **style)
    axes.set_xlabel(label, fontsize=TEXT_SIZE, color=ink("soft"))
    axes.xaxis.set_label_coords(0.5, -24 / (ROW * len(rows)))


def _draw(chart: Drawing, row: IntervalRow, y: float, ends: tuple[float, float]) -> None:
    """The interval's line, the tick of chance above it and the dot on it; or the words."""
    axes, value = chart.axes, finite(row.value)
    if value is None:
        style: dict[str, Any] = {"ha": "left", "va": "baseline", "fontsize": TICK_SIZE}
        place = ends[0] + 0.015 * (ends[1] - ends[0])
        axes.text(place, y + 4, row.words or "no value", color=ink("soft"), **style)
        return
    inside = [min(max(each, ends[0]), ends[1]) for each in (value, *_interval(row, value))]
    axes.plot(inside[1:], (y, y), color=ink(row.colour), lw=5, alpha=0.45)
    if (chance := finite(row.chance)) is not None:
        chance = min(max(chance, ends[0]), ends[1])
        axes.plot((chance, chance), (y - 8, y + 8), color=ink("ink"), lw=1.6)
    (marker,) = axes.plot(inside[:1], [y], **dot(row.colour, 9))
    chart.tips(marker, [_row_in_words(row)])


def _row_in_words(row: IntervalRow) -> str:
    """The row in words."""
    value = finite(row.value)
    if value is None:
        return f"{row.name}: {row.words or 'no value'}"
    low, high = _interval(row, value)
    words = f"{row.name}: {value:.4g}"
    if low < high:
        words += f", {low:.4g} to {high:.4g}"
    if finite(row.chance) is not None:
        words += f", by chance {row.chance:.4g}"
    return words + (f" ({row.words})" if row.words else "")


def _interval(row: IntervalRow, value: float) -> tuple[float, float]:
    low, high = finite(row.low), finite(row.high)
    return value if low is None else low, value if high is None else high


def finite(number: float | None) -> float | None:
    """The number, or None if it is infinite or not a number."""
    return None if number is None or not math.isfinite(number) else float(number)


def _extent(rows: Sequence[IntervalRow], reference: float | None) -> tuple[float, float]:
    """From the smallest to the largest number that is drawn, with a margin."""
    numbers = [finite(reference)]
    for row in rows:
        if (value := finite(row.value)) is not None:
            numbers += [value, *_interval(row, value), finite(row.chance)]
    there = [number for number in numbers if number is not None] or [0.0, 1.0]
    low, high = min(there), max(there)
    margin = 0.05 * (high - low) or max(abs(low), 1.0) * 0.1
    return low - margin, high + margin
