"""The page of a look at the served model: what drifted, how right it still is, who answered."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis
from components.report.formats import percent
from components.report.heatmap import heatmap
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

_TITLES = {
    "drifted": ("stopped", "The reviews have changed"),
    "no drift": ("good", "The reviews are what the model was made for"),
    "too little data": ("waiting", "Too little data to judge drift"),
}
_WORSE, _BETTER = (
    "The model is less right than on its test",
    "The model does better than on its test",
)


def write_monitoring_page(summary_json: str | Path, output: str | Path) -> None:
    """Write the page from the summary of a look.

    Args:
        summary_json: What monitoring wrote.
        output: HTML file to write.
    """
    summary = read_json(summary_json)
    write_page(
        "monitoring_page.html",
        output,
        _headline(summary),
        summary=summary,
        effects=effects_chart(summary),
        changes=[(one, _change(one)) for one in summary["findings"] if one["drifted"]],
        accuracy=accuracy_chart(summary),
    )


def effects_chart(summary: dict[str, Any]) -> Markup:
    """The effect of each finding, beside what chance would show and the least for an alarm."""
    rows = [
        IntervalRow(
            one["title"],
            one["effect"],
            colour="negative" if one["drifted"] else "accent",
            chance=one["chance"] or None,
        )
        for one in summary["findings"]
    ]
    label = "share of reviews that moved"
    return interval_chart("How much each column changed", rows, Axis(label), summary["min_effect"])


def accuracy_chart(summary: dict[str, Any]) -> Markup:
    """Live accuracy week by week and of the whole window, with that of the test set."""
    live, test = summary["live_accuracy"], summary["test_accuracy"]
    if not live or not test:
        return Markup("")
    rows = [_accuracy_row(one["week"], one) for one in summary["weeks"]]
    rows += [_accuracy_row("whole window", live), _accuracy_row("test reviews", test, "second")]
    return interval_chart("Live accuracy", rows, Axis("share of right answers"), test["value"])


def _accuracy_row(name: str, accuracy: dict[str, Any], colour: str = "accent") -> IntervalRow:
    ends = (accuracy[end] for end in ("value", "low", "high"))
    return IntervalRow(name, *ends, colour=colour, words=f"{accuracy['labels']:,} checked")


def _change(finding: dict[str, Any]) -> Markup:
    """Shares of the cells in training and now."""
    cells = finding["cells"]
    return heatmap(
        f"{finding['title']}: then and now",
        [cell["name"] for cell in cells],
        ["then", "now"],
        [(cell["reference"], cell["now"]) for cell in cells],
        percent,
    )


def _headline(summary: dict[str, Any]) -> Headline:
    state, title = _TITLES[summary["verdict"]]
    sentence = summary["sentence"]
    if summary["concept_drift"] == "yes":
        better = summary["live_accuracy"]["value"] > summary["test_accuracy"]["value"]
        state = "waiting" if better and state == "good" else "stopped"
        title = _BETTER if better else _WORSE
        sentence = f"{summary['concept_sentence']} {sentence}"
    return Headline(state, title, sentence)
