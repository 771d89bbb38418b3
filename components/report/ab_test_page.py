"""The page of an A/B test: which arm won, by how much, and what it would take to know."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.report.differences import interval_chart
from components.report.formats import sentence
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json


def write_ab_test_page(ab_test_json: str | Path, output: str | Path) -> None:
    """Write the page of an A/B test from what its step wrote.

    That is decision, reason, versions, and in `result` the comparison, null where it made none.
    """
    test = read_json(ab_test_json)
    result = test.get("result") or {}
    effect = (result.get("plan") or {}).get("smallest_effect", 1.0)
    compared = [
        {**seen, "name": name, "tolerated": unimportant, "standing": _standing(*seen["interval"])}
        for name, seen, unimportant in (
            ("right answers on labelled reviews", result.get("accuracy"), (-effect, effect)),
            ("failed requests", result.get("failures"), (-1.0, 1.0)),
        )
        if seen
    ]
    write_page(
        "ab_test_page.html",
        output,
        _headline(test, result),
        test=test,
        result=result,
        compared=compared,
        interval_chart=interval_chart,
    )


def _headline(test: Mapping[str, Any], result: Mapping[str, Any]) -> Headline:
    """Who serves now, and why."""
    a, b = f"version {test['stable_version']}", f"version {test['version']}"
    stays = f"{sentence(a)[:-1]} has all of the traffic; {b} was removed."
    winner = result.get("winner")
    if test["decision"] == "already_serving":
        state, title, done = "waiting", f"B, {b}, serves already", ""
    elif test["decision"] == "promote":
        state, title = "good", f"B, {b}, is better and serves now"
        done = f"{sentence(b)[:-1]} has all of the traffic."
    elif test.get("stopped") or winner not in ("A", "undecided"):
        state, title, done = "stopped", f"B, {b}, went back; A, {a}, stays", stays
    elif winner == "A":
        state, title, done = "good", f"A, {a}, is better and stays", stays
    else:
        state, title, done = "waiting", f"Undecided: A, {a}, stays", stays
    return Headline(state, title, f"{sentence(test['reason'])} {done}".strip())


def _standing(low: float, high: float) -> str:
    """Green where there surely is a difference."""
    return "within" if low > 0 or high < 0 else "open"
