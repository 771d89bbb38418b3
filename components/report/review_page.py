"""The page of a human review: who was asked, how far people agree, what they found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis, Series, line_chart
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json

SHOWN = 50
"""Items in doubt on the page; all of them are in the step's summary."""

_CHARACTERS = 700

_AGREED = {
    "all": "all",
    "audit": "audit",
    "with_everybody": "everybody",
}


def write_review_page(
    votes_summary: str | Path,
    selection_summary: str | Path,
    gathered: str | Path,
    output: str | Path,
) -> None:
    """Write the page from what the three steps of a review found.

    Args:
        votes_summary: Votes, agreement, reviewers and items in doubt, JSON.
        selection_summary: What was drawn, and the table of thresholds, JSON.
        gathered: What was sent and what is missing, JSON.
        output: HTML file to write.
    """
    votes, selection = read_json(votes_summary), read_json(selection_summary)
    lazy = [one for one in votes["reviewers"] if one["lazy"]]
    write_page(
        "review_page.html",
        output,
        _headline(votes, lazy),
        votes=votes,
        selection=selection,
        gathered=read_json(gathered),
        lazy=lazy,
        agreement=agreement_chart(votes["agreement"], left_out=bool(lazy)),
        thresholds=threshold_chart(selection),
        doubtful=[_shown(row) for row in votes["doubtful"][:SHOWN]],
        hidden=max(0, len(votes["doubtful"]) - SHOWN),
    )


def agreement_chart(agreement: Mapping[str, Any], *, left_out: bool) -> Markup:
    """Krippendorff's alpha with its intervals; the one of everybody only where somebody is out."""
    rows = []
    for name, words in _AGREED.items():
        if name == "with_everybody" and not left_out:
            continue
        for distance in ("interval", "nominal"):
            found = agreement[name][distance]
            ends = [found[end] for end in ("value", "low", "high")] if found else [None]
            colour = "accent" if distance == "interval" else "soft"
            few = "too few items with two votes"
            rows.append(IntervalRow(f"{words}, {distance}", *ends, colour=colour, words=few))
    return interval_chart("Krippendorff's alpha", rows, Axis("alpha", (0.0, 1.0)), reference=0.0)


def threshold_chart(selection: Mapping[str, Any]) -> Markup:
    """Error that is left by the share of answers that people see."""
    table = selection["thresholds"]
    series = [
        Series(words, [(row["volume"], row[name]) for row in table], colour, dots=True)
        for words, name, colour in (
            ("expected", "remaining", "accent"),
            ("on the test split", "remaining_seen", "second"),
        )
    ]
    return line_chart(
        "Error after review",
        series,
        Axis("share of answers reviewed"),
        Axis("error rate"),
        mark=(selection["chosen"]["volume"], "chosen"),
    )


def _headline(votes: Mapping[str, Any], lazy: list[Any]) -> Headline:
    states = votes["states"]
    counted = (
        f"{states['resolved']:,} of {votes['items']:,} reviews are resolved by "
        f"{votes['votes']['counted']:,} votes of {len(votes['reviewers'])} people; "
        f"{states['waiting']:,} wait for votes and {states['in doubt']:,} for one more."
    )
    if lazy:
        return Headline("stopped", "A reviewer clicks without reading", counted)
    if not votes["items"]:
        return Headline("waiting", "Nobody was asked yet", "No review was drawn.")
    if states["waiting"] or states["in doubt"]:
        return Headline("waiting", "Some reviews wait for people", counted)
    return Headline("good", "All reviews that were asked about are decided", counted)


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """An item with its text cut to what a page can hold."""
    body = row["review_body"]
    cut = len(body) > _CHARACTERS
    return {**row, "review_body": body[:_CHARACTERS].rstrip() + "…" if cut else body}
