"""The page of a rollout: what was decided, and the numbers that decided it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from components.contracts.files import replaced_when_whole
from components.contracts.labels import CLASS_NAMES
from components.deployment.canary_analysis import Analysis, Measure, Standing, Verdict
from components.deployment.confidence_sequence import Count, Interval
from components.deployment.observations import Observations
from components.deployment.paired_labels import ShadowComparison
from components.deployment.roll_out import Decision, Rollout, Step

MOST_LOOKS_DRAWN = 150
"""A timeline of more looks is thinned out; the last look is always drawn."""

_TITLES = {
    Decision.PROMOTE: ("good", "Version {version} has taken over"),
    Decision.ROLL_BACK: ("stopped", "Version {version} was rolled back"),
    Decision.FIRST_DEPLOYMENT: ("good", "Version {version} is the first"),
    Decision.ALREADY_SERVING: ("good", "Version {version} serves already"),
}
_STANDING = {
    Standing.WITHIN: "within its limit",
    Standing.OPEN: "not settled",
    Standing.BEYOND: "beyond its limit",
}
ENOUGH_PAIRS = 100
"""Reviews that both versions answered, below which the share that agrees says little."""

_VERDICT = {
    Verdict.PROMOTE: "go on",
    Verdict.HOLD: "not proven in time",
    Verdict.ROLL_BACK: "roll back",
}
_HOW_TO_READ = (
    "Canary minus stable, in percentage points. Thick bar: the interval that has to lie in the "
    "green zone for the canary to go on. Thin line: the same, widened for the number of measures; "
    "it has to lie in the red zone for the canary to go back. Both hold however often one looks."
)
_HOW_TO_READ_LABELLED = (
    " There are no more labelled reviews than those that were asked: where they are too few for "
    "the bar, the dot has to lie in the green zone."
)


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        heading: Its title.
        told: What there is to see, in a sentence; may be empty.
        body: Its content, already HTML.
    """

    heading: str
    told: str
    body: Markup


@dataclass(frozen=True)
class Page:
    """A report page before it is HTML.

    Attributes:
        state: `good`, `stopped` or `waiting`: the colour of the verdict.
        title: The verdict.
        eyebrow: What the page is about.
        lead: The reason, in a sentence.
        tiles: (name, value, note) of the figures at the top.
        sections: The parts.
        footer: Lines at the end.
    """

    state: str
    title: str
    eyebrow: str
    lead: str
    tiles: Sequence[tuple[str, str, str]]
    sections: Sequence[Section]
    footer: Sequence[str]

    def render(self) -> str:
        """As one HTML file that needs nothing else; all texts are escaped."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
        )
        return environment.get_template("canary_report.html").render(page=self)


def write_canary_report(
    rollout: Rollout, path: str | Path, shadow: ShadowComparison | str = ""
) -> None:
    """Write the page of a rollout.

    Args:
        rollout: How it went.
        path: HTML file to write.
        shadow: What a shadow's answers were like, or a sentence why that is not known; empty where
            there was none.
    """
    with replaced_when_whole(path) as draft:
        draft.write_text(render_canary_report(rollout, shadow), encoding="utf-8")


def render_canary_report(rollout: Rollout, shadow: ShadowComparison | str = "") -> str:
    """The page of a rollout as HTML; see `write_canary_report`."""
    state, title = _TITLES[rollout.decision]
    looks = sum(len(step.analyses) for step in rollout.steps)
    seen = [step.analyses[-1].canary for step in rollout.steps if step.analyses]
    sections = [_step_section(step) for step in rollout.steps]
    if shadow:
        sections.insert(0, _shadow_section(shadow))
    tiles = [
        ("Service", rollout.model_name, f"KServe mode {rollout.mode}"),
        ("Canary", f"version {rollout.version}", "on trial"),
        ("Stable", f"version {rollout.stable_version}", "compared with"),
        ("Canary requests", f"{sum(one.requests for one in seen):,}", f"in {looks:,} looks"),
        (
            "Time",
            _duration(sum(step.seconds for step in rollout.steps)),
            " → ".join(f"{step.percent} %" for step in rollout.steps) or "no traffic step",
        ),
    ]
    return Page(
        state=state,
        title=title.format(version=rollout.version),
        eyebrow=f"Review sentiment · rollout of {rollout.model_name}",
        lead=_sentence(rollout.reason),
        tiles=tiles,
        sections=sections,
        footer=[
            "Intervals are confidence sequences (Robbins 1970; Howard et al. 2021): they may be "
            "looked at after every request. Requests are taken as independent of each other.",
            "Latency is read off histogram buckets. The thresholds for slow answers were fixed "
            "from the stable version's first answers and judge only those given afterwards.",
        ],
    ).render()


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
            parts.append(_text(x(value), height - 6, _points(value)))
    return _svg(
        width,
        height,
        standing,
        f"difference {_points(difference)}, interval {_points(interval.low)} to "
        f"{_points(interval.high)}, {_STANDING[standing]}",
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
            parts.append(_text(left - 6, y(value) + 4, _points(value), "end"))
    parts.append(_text(left, height - 16, "0", "start"))
    parts.append(_text(width - right, height - 16, f"{most:,}", "end"))
    parts.append(_text((left + width - right) / 2, height - 3, "canary requests"))
    return _svg(
        width,
        height,
        last.standing,
        f"interval of {last.name} over {len(looks)} looks, at last {_points(last.interval.low)} to "
        f"{_points(last.interval.high)}",
        parts,
    )


def _step_section(step: Step) -> Section:
    """All about one share of the traffic."""
    heading = f"At {step.percent} % of the traffic: {_VERDICT[step.verdict]}"
    told = f"{_sentence(step.reason)} ({_duration(step.seconds)}, {len(step.analyses):,} looks)"
    if not step.analyses:
        return Section(heading, told, Markup(""))
    last = step.analyses[-1]
    body = _measures_table(last) + _versions_table(last)
    if len(step.analyses) > 1:
        body += Markup('<h3>How sure it became</h3><div class="grid">{}</div>').format(
            _funnels(step.analyses)
        )
    return Section(heading, told, body)


def _measures_table(analysis: Analysis) -> Markup:
    """Each measure with its picture."""
    how_to_read = _HOW_TO_READ
    if any(measure.complete for measure in analysis.measures):
        how_to_read += _HOW_TO_READ_LABELLED
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="n">{}</td><td class="n">{}</td>'
            '<td class="picture">{}</td><td><span class="pill {}">{}</span></td></tr>'
        ).format(
            measure.name,
            rate_cell(measure.stable),
            rate_cell(measure.canary),
            interval_chart(
                measure.difference,
                measure.interval,
                measure.tolerated,
                measure.standing,
                measure.wide_interval,
            ),
            str(measure.standing),
            _STANDING[measure.standing],
        )
        for measure in analysis.measures
    )
    return Markup(
        '<div class="card"><table><thead><tr><th scope="col">share of</th>'
        '<th scope="col" class="n">stable</th><th scope="col" class="n">canary</th>'
        '<th scope="col">difference</th><th scope="col"></th></tr></thead>'
        '<tbody>{}</tbody></table></div><p class="soft small">{}</p>'
    ).format(rows, how_to_read)


def _versions_table(analysis: Analysis) -> Markup:
    """What was seen of each version, without a judgement."""

    def row(name: str, seen: Observations) -> Markup:
        return Markup(
            '<tr><th scope="row">{}</th><td class="n">{:,}</td><td class="n">{:,}</td>'
            '<td class="n">{:,}</td><td class="n">{}</td><td class="n">{}</td><td>{}</td></tr>'
        ).format(
            name,
            seen.requests,
            seen.errors,
            seen.refused,
            _milliseconds(seen.p50),
            _milliseconds(seen.p99),
            _class_shares(seen),
        )

    keys = Markup("").join(
        Markup('<span class="key f-{0}"></span>{0}').format(name) for name in CLASS_NAMES
    )
    return Markup(
        '<div class="card"><table><thead><tr><th scope="col">seen of</th>'
        '<th scope="col" class="n">requests</th><th scope="col" class="n">failed</th>'
        '<th scope="col" class="n">of them refused</th><th scope="col" class="n">p50</th>'
        '<th scope="col" class="n">p99</th><th scope="col">predicted {}</th></tr></thead>'
        "<tbody>{}{}</tbody></table></div>"
    ).format(keys, row("stable", analysis.stable), row("canary", analysis.canary))


def _class_shares(seen: Observations) -> Markup:
    """Predicted classes as a divided bar."""
    if not seen.predicted:
        return Markup("none")
    parts = Markup("").join(
        Markup('<span class="f-{}" style="width:{}%" title="{}: {:,}"></span>').format(
            name, _n(100 * count / seen.predicted), name, count
        )
        for name, count in zip(CLASS_NAMES, seen.classes, strict=True)
    )
    told = " · ".join(f"{100 * count / seen.predicted:.0f} %" for count in seen.classes)
    return Markup('<span class="stack">{}</span><small>{}</small>').format(parts, told)


def _funnels(analyses: Sequence[Analysis]) -> Markup:
    """A small picture for each measure that came to be known by and by, the most telling first."""
    order = {Standing.BEYOND: 0, Standing.OPEN: 1, Standing.WITHIN: 2}
    last = analyses[-1].measures
    ranked = sorted(range(len(last)), key=lambda index: order[last[index].standing])
    return Markup("").join(
        Markup('<div class="card"><h3>{}</h3>{}</div>').format(
            last[index].name,
            funnel_chart(
                [
                    (analysis.canary.requests, analysis.measures[index])
                    for analysis in analyses
                    if index < len(analysis.measures)
                ]
            ),
        )
        for index in ranked
        if not last[index].complete
    )


def _shadow_section(shadow: ShadowComparison | str) -> Section:
    """What a shadow's answers were like."""
    if isinstance(shadow, str):
        return Section("In the shadow", shadow, Markup(""))
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            name,
            Markup("").join(Markup('<td class="n">{:,}</td>').format(count) for count in counts),
        )
        for name, counts in zip(CLASS_NAMES, shadow.changes, strict=True)
    )
    heads = Markup("").join(
        Markup('<th scope="col" class="n">canary: {}</th>').format(name) for name in CLASS_NAMES
    )
    told = (
        f"The canary answered a copy of the traffic; its answers were not returned. Of "
        f"{shadow.agreed.of:,} reviews, {_percent(shadow.agreed)} got the same label (between "
        f"{100 * shadow.interval.low:.1f} and {100 * shadow.interval.high:.1f} %)."
    )
    if shadow.agreed.of < ENOUGH_PAIRS:
        told += f" That is too little to tell: fewer than {ENOUGH_PAIRS} reviews were paired."
    note = (
        f"Answered by one version only: {shadow.only_stable:,} by the stable, "
        f"{shadow.only_canary:,} by the canary. Left out because the texts differ: "
        f"{shadow.mismatched:,}."
    )
    body = Markup(
        '<div class="card"><table><thead><tr><th scope="col">stable</th>{}</tr></thead>'
        '<tbody>{}</tbody></table></div><p class="soft small">{}</p>'
    ).format(heads, rows, note)
    return Section("In the shadow", told, body)


def rate_cell(count: Count) -> Markup:
    """A rate in percent above the counts that it is made of."""
    return Markup("{}<small>{:,} of {:,}</small>").format(_percent(count), *count)


def _percent(count: Count) -> str:
    return "none" if count.rate is None else f"{100 * count.rate:.1f} %"


def _points(value: float | None) -> str:
    """A difference in percentage points, with its sign."""
    if value is None:
        return "unknown"
    rounded = round(100 * value, 1)
    return "0" if rounded == 0 else f"{rounded:+g}".replace("-", "\u2212")


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1000 * seconds:,.3g} ms"


def _duration(seconds: float) -> str:
    """A time span in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    words = words.strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


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
