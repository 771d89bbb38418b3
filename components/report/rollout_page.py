"""The page of a rollout: what was decided, and the numbers that decided it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.differences import STANDING, funnel_chart, interval_chart
from components.report.formats import sentence
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

ENOUGH_PAIRS = 100
"""Reviews that both versions answered, below which the share that agrees says little."""

_TITLES = {
    "promote": ("good", "Version {} has taken over"),
    "roll_back": ("stopped", "Version {} was rolled back"),
    "first_deployment": ("good", "Version {} is the first"),
    "already_serving": ("good", "Version {} serves already"),
}
_VERDICTS = {"promote": "go on", "hold": "not proven in time", "roll_back": "roll back"}


def write_rollout_page(rollout_json: str | Path, output: str | Path) -> None:
    """Write the page of a rollout from what its step wrote.

    That is decision, reason, versions, and of each step its looks with the measures and what was
    seen of both versions; in `shadow` how a shadow's answers differed, or why that is not known.
    """
    rollout = read_json(rollout_json)
    state, title = _TITLES[rollout["decision"]]
    steps = rollout.get("steps") or []
    seen = [step["analyses"][-1]["canary"] for step in steps if step["analyses"]]
    write_page(
        "rollout_page.html",
        output,
        Headline(state, title.format(rollout["version"]), sentence(rollout["reason"])),
        rollout=rollout,
        steps=steps,
        looks=sum(len(step["analyses"]) for step in steps),
        requests=sum(one["requests"] for one in seen),
        seconds=sum(step["seconds"] for step in steps),
        verdicts=_VERDICTS,
        standing=STANDING,
        enough_pairs=ENOUGH_PAIRS,
        interval_chart=interval_chart,
        courses=_courses,
    )


def _courses(analyses: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Name and chart of each measure that came to be known by and by, the most telling first."""
    last, order = analyses[-1]["measures"], ("beyond", "open", "within")
    shown = [measure for measure in last if not measure.get("complete")]
    shown.sort(key=lambda measure: order.index(measure["standing"]))
    courses = {
        one["name"]: [
            (analysis["canary"]["requests"], measure)
            for analysis in analyses
            for measure in analysis["measures"]
            if measure["name"] == one["name"]
        ]
        for one in shown
    }
    return [(name, funnel_chart(course)) for name, course in courses.items()]
