"""The page of a search: its trials as a table, the best one marked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.report.formats import named
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json


def write_trials_page(trials_json: str | Path, output: str | Path) -> None:
    """Write the table of the trials.

    The search wrote `objective`, `best` (number of a trial, or null) and `trials`; or only the list
    of trials, each with its number `trial`, `status`, `parameters`, `metrics`, `seconds`, `reason`.
    """
    search = read_json(trials_json)
    if not isinstance(search, Mapping):
        search = {"trials": search}
    trials = search.get("trials") or []
    objective, best = search.get("objective"), search.get("best")
    parameters = list(dict.fromkeys(name for trial in trials for name in trial["parameters"]))
    metrics = sorted({name for trial in trials for name in trial["metrics"]})
    metrics.sort(key=lambda name: name != objective)
    write_page(
        "trials_page.html",
        output,
        _headline(trials, objective, best),
        trials=trials,
        best=best,
        parameters=parameters,
        metrics=metrics,
    )


def _headline(trials: list[dict[str, Any]], objective: str | None, best: int | None) -> Headline:
    """The best trial and what it reached."""
    finished = sum(trial["status"] == "finished" for trial in trials)
    description = f"{finished} of {len(trials)} trials finished."
    won = next((trial for trial in trials if trial["trial"] == best), None)
    if won is None:
        return Headline("" if finished else "stopped", "Trials of the search", description)
    score = won["metrics"].get(objective)
    reached = f" with {named(objective)} {score:.4f} on validation" if score is not None else ""
    return Headline(
        "good", f"Trial {best} is the best", f"{description} Trial {best} won{reached}."
    )
