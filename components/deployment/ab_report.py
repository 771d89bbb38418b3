"""The page of an A/B test: which arm won, by how much, and what it would take to know."""

from pathlib import Path

from markupsafe import Markup

from components.deployment.canary_charts import interval_chart
from components.deployment.judging.ab_test import AbResult, Winner
from components.deployment.judging.canary_analysis import Standing
from components.deployment.judging.confidence_sequence import Interval
from components.deployment.judging.two_proportions import Proportions, power_of
from components.deployment.report_page import Page, Section, percent, rate_cell
from components.deployment.rollout_record import AbTest, Decision
from components.shared.machine.files import replaced_when_whole


def write_ab_test(test: AbTest, path: str | Path) -> None:
    """Write the page of an A/B test that was run to its end, with what was done then.

    Args:
        test: How it went.
        path: HTML file to write.
    """
    with replaced_when_whole(path) as draft:
        draft.write_text(render_ab_test(test), encoding="utf-8")


def render_ab_test(test: AbTest) -> str:
    """The page of an A/B test that was run to its end as HTML; see `write_ab_test`."""
    state, title, done = _ending(test)
    if test.result is None:
        tiles = [
            ("A", f"version {test.stable_version}", "served before"),
            ("B", f"version {test.version}", "the candidate"),
        ]
        sections: list[Section] = []
        footer = "This run compared nothing: what was decided stands on the service."
    else:
        tiles = _tiles(test.result)
        sections = [_comparison(test.result), _sample(test.result), *_course(test)]
        footer = (
            "Intervals: Wilson (1927) for one rate, Newcombe (1998) for a difference, at level "
            f"{100 * (1 - test.result.plan.alpha):g} %. Test: two-sided, at the planned sample "
            "only; looking earlier decides nothing."
        )
    return Page(
        state=state,
        title=title,
        eyebrow=f"Review sentiment · A/B test of {test.model_name}",
        lead=f"{test.reason[:1].upper()}{test.reason[1:]}. {done}",
        tiles=tiles,
        sections=sections,
        footer=[footer],
    ).render()


def _ending(test: AbTest) -> tuple[str, str, str]:
    """Colour, title, and what was done."""
    a, b = f"version {test.stable_version}", f"version {test.version}"
    stays = f"{a[0].upper()}{a[1:]} has all of the traffic; {b} was removed."
    if test.decision is Decision.ALREADY_SERVING:
        return "waiting", f"B, {b}, serves already", ""
    if test.decision is Decision.PROMOTE:
        return (
            "good",
            f"B, {b}, is better and serves now",
            f"{b[0].upper()}{b[1:]} has all of the traffic.",
        )
    if test.stopped or test.result is None:
        return "stopped", f"B, {b}, went back; A, {a}, stays", stays
    if test.result.winner is Winner.A:
        return "good", f"A, {a}, is better and stays", stays
    if test.result.winner is Winner.UNDECIDED:
        return "waiting", f"Undecided: A, {a}, stays", stays
    return "stopped", f"B, {b}, went back; A, {a}, stays", stays


def _tiles(result: AbResult) -> list[tuple[str, str, str]]:
    a, b = result.arms
    accuracy = result.accuracy
    h = accuracy.cohens_h
    return [
        (f"A · version {a.version}", percent(a.right), _interval(accuracy.interval_a)),
        (f"B · version {b.version}", percent(b.right), _interval(accuracy.interval_b)),
        ("Difference", _points(accuracy.difference), f"B minus A; {_range(accuracy.interval)}"),
        ("Effect size", "none" if h is None else f"{h:+.3f}", "Cohen's h; 0.2 is small"),
        ("p-value", f"{accuracy.p_value:.2g}", accuracy.test),
    ]


def _comparison(result: AbResult) -> Section:
    """Accuracy and failures with their pictures."""
    effect = result.plan.smallest_effect
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="n">{}</td><td class="n">{}</td>'
            '<td class="picture">{}</td><td class="n">{}<small>p = {}</small></td></tr>'
        ).format(
            name,
            rate_cell(found.a),
            rate_cell(found.b),
            _picture(found, unimportant),
            _points(found.difference),
            f"{found.p_value:.2g}",
        )
        for name, found, unimportant in (
            ("right answers on labelled reviews", result.accuracy, Interval(-effect, effect)),
            ("failed requests", result.failures, Interval(-1.0, 1.0)),
        )
    )
    body = Markup(
        '<div class="card"><table><thead><tr><th scope="col">share of</th>'
        '<th scope="col" class="n">A</th><th scope="col" class="n">B</th>'
        '<th scope="col">difference, B minus A</th><th scope="col" class="n">points</th></tr>'
        "</thead><tbody>{}</tbody></table></div>"
    ).format(rows)
    told = (
        "The bar is the interval of the difference. The green zone holds differences of less than "
        f"{100 * effect:g} points, which would not matter. Where the bar leaves out 0, there is a "
        "difference; where it lies in the green zone, it does not matter."
    )
    return Section("What was seen", told, body)


def _picture(found: Proportions, unimportant: Interval) -> Markup:
    """The difference against what would not matter."""
    clear = found.interval.low > 0 or found.interval.high < 0
    return interval_chart(
        found.difference,
        found.interval,
        unimportant,
        Standing.WITHIN if clear else Standing.OPEN,
    )


def _sample(result: AbResult) -> Section:
    """The planned sample, what is there, and what it can show."""
    (a, b), plan, needed = result.arms, result.plan, result.plan.needed
    rows = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="n">{}</td><td class="n">{:,}</td>'
            '<td class="n">{:,}</td><td class="n">{:,}</td></tr>'
        ).format(name, f"{100 * share:g} %", arm.failed.of, arm.right.of, wanted)
        for name, share, arm, wanted in (
            ("A", 1 - plan.share_b, a, needed[0]),
            ("B", plan.share_b, b, needed[1]),
        )
    )
    shown = ""
    if a.right.of and b.right.of:
        other = plan.baseline - plan.smallest_effect
        if other < 0:
            other = plan.baseline + plan.smallest_effect
        power = power_of(plan.baseline, other, a.right.of, b.right.of, plan.alpha)
        shown = f" The reviews at hand show such a difference with a chance of {100 * power:.0f} %."
    told = (
        f"Planned to see a difference of {100 * plan.smallest_effect:g} points from an accuracy of "
        f"{100 * plan.baseline:g} % with a chance of {100 * plan.power:g} %, and to be misled by "
        f"equal arms with a chance of {100 * plan.alpha:g} %.{shown}"
    )
    body = Markup(
        '<div class="card"><table><thead><tr><th scope="col">arm</th>'
        '<th scope="col" class="n">planned share</th><th scope="col" class="n">requests</th>'
        '<th scope="col" class="n">labelled reviews answered</th>'
        '<th scope="col" class="n">needed</th></tr></thead><tbody>{}</tbody></table></div>'
        '<p class="soft small">p-value of the requests being split as planned: {}.</p>'
    ).format(rows, f"{result.split_p_value:.2g}")
    return Section("What it takes", told, body)


def _course(test: AbTest) -> list[Section]:
    """How the reviews were sent; nothing where this run sent none."""
    if not test.asked:
        return []
    told = (
        f"{test.asked:,} labelled reviews were sent as ordinary requests in {test.seconds:,.0f} s, "
        f"each to the arm that the split gave it; {test.unanswered:,} of them got no answer."
    )
    return [Section("How it went", told, Markup(""))]


def _points(value: float | None) -> str:
    if value is None:
        return "unknown"
    rounded = round(100 * value, 1) or 0.0  # no minus before a zero
    return f"{rounded:+.1f}".replace("-", "\u2212")


def _range(interval: Interval) -> str:
    return f"{_points(interval.low)} to {_points(interval.high)} points"


def _interval(interval: Interval) -> str:
    return f"right; {100 * interval.low:.1f} to {100 * interval.high:.1f} %"
