"""A canary's or arm's difference against its limits, as inline SVG: now, and how sure it became.

A measure is a mapping as a rollout's JSON has it: `name`, `difference` (None draws no dot),
`interval`, `wide_interval` (if there is one), `tolerated` (an end at -1 or 1 is open), `standing`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from components.report.drawing import TICK_SIZE, dot, drawing, ink
from components.report.formats import points

MOST_LOOKS_DRAWN = 150
"""A course of more looks is thinned out; the last look is always drawn."""

STANDING = {
    "within": ("positive", "within its limit"),
    "open": ("accent", "not settled"),
    "beyond": ("negative", "beyond its limit"),
}
"""Colour and words of where a measure's interval lies."""


def interval_chart(measure: Mapping[str, Any]) -> Markup:
    """A measure from left to right: a bar for its interval, a thin line for the wide one."""
    difference, interval = measure["difference"], measure["interval"]
    wide, limits = measure.get("wide_interval"), _limits(measure)
    role, words = STANDING[measure["standing"]]
    colour = ink(role)
    ends = [*(wide or interval), *(1.6 * limit for limit in limits), *limits, 0.0]
    low, high = max(-1.0, min(ends)), min(1.0, max(ends))
    margin = 0.06 * (high - low) or 0.01
    low, high = low - margin, high + margin
    inside = _between(low, high)
    with drawing(420, 54, (4, 4, 6, 20)) as chart:
        axes = chart.axes
        axes.set_xlim(low, high)
        axes.set_ylim(0, 28)
        if limits:
            _zones(axes.axvspan, axes.axvline, measure, (low, high))
        else:
            axes.axvspan(low, high, color=ink("wash"), lw=0)
        axes.axvline(0, color=ink("soft"), lw=1, ls=(0, (2, 3)))
        if wide:
            axes.plot(wide, (14, 14), color=colour, lw=1.6)
            for end in wide:
                axes.plot((end, end), (8, 20), color=colour, lw=1.6)
        axes.plot([*map(inside, interval)], (14, 14), color=colour, lw=6, alpha=0.55)
        if difference is not None:
            axes.plot([inside(difference)], [14], **dot(role, 10))
        axes.set_yticks([])
        spots = _apart((*limits, 0.0), 34 / 412 * (high - low))
        axes.set_xticks(spots, [*map(points, spots)])
        first, last = map(points, interval)
        description = f"difference {points(difference)}, interval {first} to {last}, {words}"
        return chart.svg(f"{measure['name']}, difference", description)


def funnel_chart(looks: Sequence[tuple[int, Mapping[str, Any]]]) -> Markup:
    """The interval of a measure at each look, which narrows as requests come in.

    Args:
        looks: (canary requests, the measure then) of each look in order, at least one.
    """
    every = max(1, len(looks) // MOST_LOOKS_DRAWN)
    drawn = [*looks[:-1:every], looks[-1]]
    last, requests = drawn[-1][1], [number for number, _ in drawn]
    role, limits, most = STANDING[last["standing"]][0], _limits(last), max(requests) or 1
    # The first intervals reach from -1 to 1; the picture is cut to where the later ones lie, and
    # not much beyond the last one and the limits.
    later = [measure["interval"] for _, measure in drawn[len(drawn) // 3 :]]
    span = 4 * max((abs(limit) for limit in limits), default=0.1)
    always = [0.0, *last["interval"], *(1.5 * limit for limit in limits)]
    low = max(min(*always, *(one[0] for one in later)), min(always) - span)
    high = min(max(*always, *(one[1] for one in later)), max(always) + span)
    inside = _between(low, high)
    with drawing(320, 190, (48, 10, 8, 34)) as chart:
        axes = chart.axes
        axes.set_xlim(0, most)
        axes.set_ylim(low, high if high > low else low + 1)
        _zones(axes.axhspan, axes.axhline, last, (low, high))
        axes.axhline(0, color=ink("soft"), lw=1, ls=(0, (2, 3)))
        lower, upper = ([inside(one["interval"][end]) for _, one in drawn] for end in (0, 1))
        band = requests + requests[::-1], upper + lower[::-1]
        axes.fill(*band, color=ink(role), alpha=0.28, lw=0)
        for edge in (upper, lower):
            axes.plot(requests, edge, color=ink(role), lw=1.4)
        seen = [(n, inside(one["difference"])) for n, one in drawn if one["difference"] is not None]
        if seen:
            axes.plot(*zip(*seen, strict=True), color=ink(role), lw=2)
            axes.plot(*seen[-1], **dot(role, 8))
        spots = _apart((*limits, 0.0, low, high), 14 / 148 * (high - low))
        axes.set_yticks(spots, [*map(points, spots)])
        axes.set_xticks([0, most], ["0", f"{most:,}"])
        for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
            label.set_horizontalalignment(side)
        axes.set_xlabel("canary requests", fontsize=TICK_SIZE, color=ink("soft"), labelpad=-8)
        first, final = map(points, last["interval"])
        description = f"interval over {len(looks)} looks, at last {first} to {final}"
        return chart.svg(last["name"], description)


def _limits(measure: Mapping[str, Any]) -> list[float]:
    return [end for end in measure["tolerated"] if abs(end) < 1]


def _between(low: float, high: float) -> Callable[[float], float]:
    return lambda value: min(max(value, low), high)


def _zones(span: Any, line: Any, measure: Mapping[str, Any], ends: tuple[float, float]) -> None:
    """What is tolerated in green, the rest in red, and a line at each limit."""
    span(*ends, color=ink("negative-wash"), lw=0)
    span(*map(_between(*ends), measure["tolerated"]), color=ink("positive-wash"), lw=0)
    for limit in _limits(measure):
        line(limit, color=ink("negative"), lw=1.4, ls=(0, (5, 3)))


def _apart(values: Sequence[float], distance: float) -> list[float]:
    """The values that can be written without running into one that comes before."""
    placed: list[float] = []
    for value in values:
        if all(abs(value - other) > distance for other in placed):
            placed.append(value)
    return placed
