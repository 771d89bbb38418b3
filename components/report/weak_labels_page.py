"""The page of weak supervision: who voted what, which labels came of it, and what they bring."""

from pathlib import Path
from typing import Any

from components.report.label_noise_page import effects_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

_TITLES = {
    "helps": ("good", "Weak labels help"),
    "harms": ("stopped", "Weak labels harm"),
    "has no proven effect": ("waiting", "No proven effect from weak labels"),
}


def write_weak_labels_page(summary_json: str | Path, output: str | Path) -> None:
    """Write the page from the summary that weak supervision wrote.

    Args:
        summary_json: Its functions, methods, classes, the experiment and the verdict.
        output: HTML file to write.
    """
    summary = read_json(summary_json)
    write_page(
        "weak_labels_page.html",
        output,
        _headline(summary),
        summary=summary,
        chart=effects_chart(summary["experiment"]),
    )


def _headline(summary: dict[str, Any]) -> Headline:
    if summary["reason"]:
        return Headline("", "There are no weak labels", summary["verdict"])
    return Headline(*_TITLES[summary["experiment"][1]["verdict"]], summary["verdict"])
