"""The page of the search for label noise: which labels are in doubt, and whether cleaning helps."""

from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json, read_parquet
from components.shared.records.labels import labels_of_file
from components.shared.records.suspects import suspects_schema

SHOWN = 50
"""Suspects on the page; all of them are in the step's Parquet file."""

_CHARACTERS = 700

_TITLES = {
    "has no proven effect": ("", "No proven effect from cleaning the labels"),
    "helps": ("good", "Cleaning the labels helps"),
    "harms": ("waiting", "Cleaning the labels harms"),
}


def write_label_noise_page(
    summary_json: str | Path, suspects: str | Path, output: str | Path
) -> None:
    """Write the page from what the search wrote.

    Args:
        summary_json: Its summary: counts, pairs of classes, the experiment and its verdict.
        suspects: Parquet of `suspects_schema`, by rank.
        output: HTML file to write.
    """
    summary = read_json(summary_json)
    table = read_parquet(suspects, suspects_schema(labels_of_file(suspects)))
    write_page(
        "label_noise_page.html",
        output,
        _headline(summary),
        summary=summary,
        chart=effects_chart(summary["experiment"]),
        suspects=[_shown(row) for row in table.slice(0, SHOWN).to_pylist()],
        hidden=max(0, table.num_rows - SHOWN),
    )


def effects_chart(experiment: list[dict[str, Any]]) -> Markup:
    """The difference of each variant of an experiment from its first one."""
    rows = [
        IntervalRow(one["name"], *(one["difference"][end] for end in ("value", "low", "high")))
        for one in experiment[1:]
    ]
    return interval_chart("Effect on macro-F1", rows, Axis("change of macro-F1"), reference=0.0)


def _headline(summary: dict[str, Any]) -> Headline:
    if summary["reason"]:
        return Headline("waiting", "Label noise was not looked for", summary["verdict"])
    verdicts = [one["verdict"] for one in summary["experiment"][1:3]]
    verdict = next((one for one in ("helps", "harms") if one in verdicts), "has no proven effect")
    return Headline(*_TITLES[verdict], summary["verdict"])


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A suspect with its text cut to what a page can hold."""
    body = row["review_body"]
    cut = len(body) > _CHARACTERS
    return row | {"review_body": body[:_CHARACTERS].rstrip() + "…" if cut else body}
