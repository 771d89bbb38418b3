"""The page of a loop: what happened when, from the first model to the one after people's labels."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from components.report.charts import Axis
from components.report.formats import sentence
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.cost import read_prices
from components.shared.machine.files import read_json


def write_loop_page(story_json: str | Path, output: str | Path) -> None:
    """Write the page of a loop's story so far.

    Args:
        story_json: The story as `make loop` writes it: chapters with name, title, sentence,
            figures, page, and the times at which each began and ended.
        output: HTML file to write; the chapters' pages are linked from there.
    """
    chapters = read_json(story_json)["chapters"]
    by_name = {one["name"]: one for one in chapters}
    first, last = by_name.get("first_model"), by_name.get("second_turn")
    begun = _moment(chapters[0]["started"]) if chapters else None
    write_page(
        "loop_page.html",
        output,
        _headline(last),
        chapters=[
            one
            | {
                "after": (_moment(one["started"]) - begun).total_seconds() if begun else 0,
                "seconds": (_moment(one["ended"]) - _moment(one["started"])).total_seconds(),
            }
            for one in chapters
        ],
        seconds=(_moment(chapters[-1]["ended"]) - begun).total_seconds() if begun else None,
        price=sum(one["figures"].get("price", 0) for one in chapters),
        price_of_people=by_name.get("people", {}).get("figures", {}).get("price", 0),
        currency=read_prices().currency,
        people=by_name.get("people", {}).get("figures", {}),
        labels=(last or {}).get("figures", {}).get("labels"),
        test=_test_chart(first, last),
        live=_live_chart(last),
    )


def _headline(last: Mapping[str, Any] | None) -> Headline:
    if last is None:
        return Headline("waiting", "The loop is under way", "The same command goes on with it.")
    rollout = last["figures"].get("rollout")
    if rollout and rollout["decision"] == "promote":
        title = f"Version {rollout['version']} has taken over"
        return Headline("good", title, sentence(rollout["reason"]))
    if rollout and rollout["decision"] == "roll_back":
        title = f"Version {rollout['version']} was rolled back"
        return Headline("stopped", title, sentence(rollout["reason"]))
    if last["figures"]["action"] != "retrain":
        return Headline("stopped", "There was no reason to retrain", sentence(last["sentence"]))
    return Headline(
        "stopped", "The gate stayed closed for the new model", sentence(last["sentence"])
    )


def _test_chart(first: Mapping[str, Any] | None, last: Mapping[str, Any] | None) -> Markup:
    """Macro-F1 of both models on the same test reviews."""
    return _intervals(
        "Macro-F1 on the test split",
        "macro-F1",
        {
            "first model": _figures(first).get("macro_f1"),
            "with people's labels": _figures(last).get("macro_f1"),
        },
    )


def _live_chart(last: Mapping[str, Any] | None) -> Markup:
    """Accuracy on the test split beside the estimate for the live answers."""
    known = _figures(last)
    estimates = {
        "test split": known.get("test_accuracy"),
        "live answers": known.get("live_accuracy"),
    }
    return _intervals("Accuracy of the first model", "accuracy", estimates)


def _intervals(
    title: str, axis: str, estimates: Mapping[str, Mapping[str, float] | None]
) -> Markup:
    rows = [
        IntervalRow(name, one["value"], one["low"], one["high"])
        for name, one in estimates.items()
        if one
    ]
    return interval_chart(title, rows, Axis(axis))


def _figures(chapter: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return (chapter or {}).get("figures", {})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
