"""A table of numbers as inline SVG whose cells are the darker the higher their value."""

from collections.abc import Callable, Sequence

from markupsafe import Markup

from components.report.charts import WIDTH
from components.report.drawing import TEXT_SIZE, TICK_SIZE, drawing, ink
from components.report.formats import readable
from components.report.interval_chart import finite, shortened, width_of

ROW, GAP, WIDE = 28, 2, 560
_FAINTEST, _STRONGEST = 0.06, 0.56
"""Opacity of the lowest and the highest cell; a number stays readable on both, light and dark."""


def heatmap(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    form: Callable[[float], str],
) -> Markup:
    """Cells with their numbers; where columns are many, the numbers are only in the tooltips.

    Args:
        title: Read out by screen readers.
        rows: Names at the left.
        columns: Names at the top; on their side where they would run into each other.
        values: One list a row; None, or a number that is not finite, leaves its cell empty.
        form: How a number is written.

    Returns:
        `<svg>`; empty if no cell has a number.
    """
    numbers = [[finite(value) for value in row] for row in values]
    there = [value for row in numbers for value in row if value is not None]
    if not there:
        return Markup("")
    low, high = min(there), max(there)
    names = [shortened(name) for name in rows]
    heads = [shortened(name, 128) for name in columns]
    left = max(map(width_of, names)) + 14
    width = WIDTH if len(columns) <= 6 else WIDE
    cell = (width - left - 4) / len(columns)
    head = max(map(width_of, heads))
    upright = head <= cell
    above = 24 if upright else head + 12
    numbered = 0.9 * max(width_of(form(value)) for value in there) <= cell - GAP
    with drawing(width, above + ROW * len(rows) + 4, (left, 4, above, 4)) as chart:
        axes = chart.axes
        axes.set_axis_off()
        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        text = {"fontsize": TEXT_SIZE, "color": ink("soft"), "va": "baseline"}
        for place, name in enumerate(heads):
            if upright:
                axes.text(place + 0.5, -8 / ROW, name, ha="center", **text)
            else:
                style = text | {"rotation": 90, "rotation_mode": "anchor", "ha": "left"}
                axes.text(place + 0.5 + 4 / cell, -8 / ROW, name, **style)
        for line, name in enumerate(names):
            beside = text | {"color": ink("ink"), "ha": "right"}
            axes.text(-8 / cell, line + 0.5 + 4.5 / ROW, name, **beside)
            for place, value in enumerate(numbers[line]):
                share = 0.5 if high == low else ((value or 0.0) - low) / (high - low)
                opacity = _FAINTEST + (_STRONGEST - _FAINTEST) * share
                filled = {"color": ink("accent"), "alpha": opacity}
                style = {"color": ink("wash")} if value is None else filled
                size, bottom = (1 - GAP / cell, 1 - GAP / ROW), line + GAP / ROW / 2
                (box,) = axes.bar(place + 0.5, size[1], size[0], bottom, lw=0, **style)
                words = "no value" if value is None else form(value)
                chart.tips(box, [f"{readable(rows[line])}, {readable(columns[place])}: {words}"])
                if value is not None and numbered:
                    middle = place + 0.5, line + 0.5 + 4 / ROW
                    small = text | {"color": ink("ink"), "fontsize": TICK_SIZE}
                    axes.text(*middle, words, ha="center", **small)
        return chart.svg(title, _in_words(rows, columns, numbers, form))


def _in_words(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float | None]],
    form: Callable[[float], str],
) -> str:
    lines = []
    for name, row in zip(rows, values, strict=True):
        cells = (
            f"{column} {'no value' if value is None else form(value)}"
            for column, value in zip(columns, row, strict=True)
        )
        lines.append(f"{name}: {', '.join(cells)}")
    return "; ".join(lines) + "."
