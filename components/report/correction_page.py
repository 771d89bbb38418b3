"""The page of the corrections: whether people's labels helped, against what costs less."""

from pathlib import Path
from typing import Any

from components.report.charts import Axis
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.label_noise_page import effects_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

_TITLES = {
    "has no proven effect": ("", "No proven effect from what people corrected"),
    "helps": ("good", "What people corrected helps"),
    "harms": ("stopped", "What people corrected harms"),
}

_PEOPLE = ("with live reviews too", "corrected by people")


def write_correction_page(summary_json: str | Path, output: str | Path) -> None:
    """Write the page from what the comparison wrote."""
    summary = read_json(summary_json)
    rows = []
    for name, part in (("trained model", "network"), ("changed labels", "slice")):
        if summary[part]:
            ends = summary[part]["macro_f1_difference"]
            rows.append(IntervalRow(name, *(ends[end] for end in ("value", "low", "high"))))
    write_page(
        "correction_page.html",
        output,
        _headline(summary),
        summary=summary,
        chart=effects_chart(summary["experiment"]),
        pairs=interval_chart("After minus before", rows, Axis("change of macro-F1"), reference=0.0),
    )


def _headline(summary: dict[str, Any]) -> Headline:
    if summary["reason"]:
        return Headline("waiting", "Nothing was corrected yet", summary["verdict"])
    by_name = {one["name"]: one for one in summary["experiment"]}
    best = next(by_name[name] for name in _PEOPLE if name in by_name)
    return Headline(*_TITLES[best["verdict"]], summary["verdict"])
