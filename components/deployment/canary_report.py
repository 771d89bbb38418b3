"""The page of a rollout: what was decided, and the numbers that decided it."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from components.deployment.canary_charts import STANDING_IN_WORDS, funnel_chart, interval_chart
from components.deployment.judging.canary_analysis import Analysis, Standing, Verdict
from components.deployment.judging.observations import Observations
from components.deployment.judging.shadow_comparison import ShadowComparison
from components.deployment.report_page import Page, Section, percent, rate_cell
from components.deployment.rollout_record import Decision, Rollout, Step
from components.shared.machine.files import replaced_when_whole
from components.shared.records.labels import CLASS_NAMES

ENOUGH_PAIRS = 100
"""Reviews that both versions answered, below which the share that agrees says little."""

_TITLES = {
    Decision.PROMOTE: ("good", "Version {version} has taken over"),
    Decision.ROLL_BACK: ("stopped", "Version {version} was rolled back"),
    Decision.FIRST_DEPLOYMENT: ("good", "Version {version} is the first"),
    Decision.ALREADY_SERVING: ("good", "Version {version} serves already"),
}
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
        ("Canary requests", f"{sum(one.requests for one in seen):,}", f"in {_looks(looks)}"),
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


def _step_section(step: Step) -> Section:
    """All about one share of the traffic."""
    heading = f"At {step.percent} % of the traffic: {_VERDICT[step.verdict]}"
    told = f"{_sentence(step.reason)} ({_duration(step.seconds)}, {_looks(len(step.analyses))})"
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
            STANDING_IN_WORDS[measure.standing],
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
            name, f"{100 * count / seen.predicted:.1f}", name, count
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
        f"{shadow.agreed.of:,} reviews, {percent(shadow.agreed)} got the same label (between "
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


def _milliseconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{1000 * seconds:,.3g} ms"


def _looks(count: int) -> str:
    return "1 look" if count == 1 else f"{count:,} looks"


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
