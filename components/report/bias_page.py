"""The page on bias: what differs between groups of reviews, and what cannot be told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

STAGES = {
    "data": "In the data",
    "balanced": "As training sees it",
    "predictions": "In the predictions",
}
"""The columns of the page, and what each is called."""

_ACROSS = ("CI", "KL", "JS", "Lp", "TVD", "KS", "AD")
_MOST_CLASSES = 3
"""Classes that are drawn; those by which most groups differ."""
_MOST_CELLS = 12_000
"""Numbers beyond which the tables, too, show only those classes: the page stays below 3 MB."""

Entry = Mapping[str, Any]
Question = tuple[str, str, str, str]
"""Facet, stage, metric and class: one number for each group."""


def write_bias_page(bias_summary: str | Path, output: str | Path) -> None:
    """Write the page from what the measuring step wrote.

    `measures` has one entry a facet, group, stage, metric and class; `findings` and `headline` say
    in words what differs, `gate` whether a limit was asked for and kept.
    """
    summary = read_json(bias_summary)
    measures: Sequence[Entry] = summary["measures"]
    asked: dict[Question, dict[str, Entry]] = {}
    for entry in measures:
        question = entry["facet"], entry["stage"], entry["metric"], entry["class"]
        asked.setdefault(question, {})[entry["group"]] = entry
    drawn = _most_telling(summary["classes"], measures)
    listed = summary["classes"] if len(measures) <= _MOST_CELLS else drawn
    gate = summary["gate"]
    limited = f" {gate['reason']}" if gate["limit"] else ""
    state = ("good" if gate["within"] else "stopped") if gate["limit"] else ""
    title = "Beyond the limit on bias" if not gate["within"] else "What differs between groups"
    write_page(
        "bias_page.html",
        output,
        Headline(state, title, summary["headline"] + limited),
        summary=summary,
        stages=STAGES,
        drawn=drawn,
        shares=lambda facet, name: _shares(asked, facet, name),
        distances=lambda facet: _distances(asked, facet),
        errors=lambda facet: _errors(asked, facet, drawn),
        tables=lambda facet: _tables(asked, facet, listed),
        left_out=len(summary["classes"]) - len(listed),
    )


def _most_telling(classes: Sequence[str], measures: Sequence[Entry]) -> list[str]:
    """The classes by which most groups differ, in their own order."""
    counts = dict.fromkeys(classes, 0)
    for entry in measures:
        if entry["class"]:
            counts[entry["class"]] += entry["standing"] == "differs"
    chosen = sorted(classes, key=lambda name: -counts[name])[:_MOST_CLASSES]
    return [name for name in classes if name in chosen]


def _shares(
    asked: Mapping[Question, Mapping[str, Entry]], facet: Mapping[str, Any], name: str
) -> list[tuple[str, Markup]]:
    """DPL of a class in each stage, on one axis."""
    return _side_by_side(asked, facet, ("DPL", "DPL", "DPPL"), name, f"share of {name}")


def _distances(
    asked: Mapping[Question, Mapping[str, Entry]], facet: Mapping[str, Any]
) -> list[tuple[str, Markup]]:
    """TVD in each stage, with what chance would show."""
    return _side_by_side(asked, facet, ("TVD",) * 3, "", "total variation distance")


def _side_by_side(
    asked: Mapping[Question, Mapping[str, Entry]],
    facet: Mapping[str, Any],
    metrics: Sequence[str],
    name: str,
    called: str,
) -> list[tuple[str, Markup]]:
    found = [
        asked.get((facet["name"], stage, metric, name), {})
        for stage, metric in zip(STAGES, metrics, strict=True)
    ]
    ends = _ends([entry for entries in found for entry in entries.values()])
    label = called if metrics[0] == "TVD" else "others minus group"
    return [
        (title, _chart(f"{called}, {title}", facet, entries, Axis(label, ends)))
        for title, entries in zip(STAGES.values(), found, strict=True)
    ]


def _errors(
    asked: Mapping[Question, Mapping[str, Entry]], facet: Mapping[str, Any], drawn: Sequence[str]
) -> list[tuple[str, Markup]]:
    """Accuracy, and the recall of each drawn class, on one axis."""
    chosen = {"Accuracy": ("AD", "")} | {f"Recall of {name}": ("RD", name) for name in drawn}
    found = {
        title: asked[question]
        for title, which in chosen.items()
        if (question := (facet["name"], "predictions", *which)) in asked
    }
    ends = _ends([entry for entries in found.values() for entry in entries.values()])
    return [
        (title, _chart(title, facet, entries, Axis("others minus group", ends)))
        for title, entries in found.items()
    ]


def _chart(title: str, facet: Mapping[str, Any], entries: Mapping[str, Entry], x: Axis) -> Markup:
    """A row a group; those that differ for sure stand out."""
    rows = []
    for group in facet["groups"]:
        entry = entries.get(group["name"], {"standing": "no reviews", "low": None})
        known = entry["low"] is not None
        rows.append(
            IntervalRow(
                group["name"],
                entry["value"] if known else None,
                entry["low"],
                entry["high"] if known else None,
                "negative" if entry["standing"] == "differs" else "accent",
                entry["chance"] if known else None,
                "" if known else entry["standing"],
            )
        )
    return interval_chart(title, rows, x, None if x.label.startswith("total") else 0.0)


def _ends(entries: Sequence[Entry]) -> tuple[float, float]:
    """Where the axis of charts side by side ends: at the farthest of their intervals."""
    known = [entry for entry in entries if entry["low"] is not None]
    low = min([0.0, *(entry["low"] for entry in known)])
    high = max([0.0, *(entry["high"] for entry in known)])
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + margin


def _tables(
    asked: Mapping[Question, Mapping[str, Entry]], facet: Mapping[str, Any], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Every number of a facet: for each stage what concerns all classes, then class by class."""
    tables = []
    for stage, title in STAGES.items():
        for name in ("", *classes):
            heads = {
                question[2]: entries
                for question, entries in asked.items()
                if (question[0], question[1], question[3]) == (facet["name"], stage, name)
            }
            if not heads:
                continue
            order = [one for one in _ACROSS if one in heads] if not name else list(heads)
            rows = [
                (group, [heads[one][group["name"]] for one in order]) for group in facet["groups"]
            ]
            tables.append(
                {
                    "title": f"{title}: {name or 'all classes'}",
                    "stage": stage,
                    "heads": order,
                    "rows": [(group, _in_one(cells), cells) for group, cells in rows],
                }
            )
    return tables


def _in_one(cells: Sequence[Entry]) -> str:
    """What stands for all cells of a row, where none of them has a number."""
    if any(entry["low"] is not None for entry in cells):
        return ""
    said = (": ".join(filter(None, (e["standing"], e.get("why")))) for e in cells)
    return "; ".join(dict.fromkeys(said))
