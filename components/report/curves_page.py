"""The page of the training step: each number of its history over the steps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.report.charts import Axis, Series, line_chart
from components.report.page import Headline, write_page
from components.shared.records.model_folder import read_training_facts

_AXIS_KEYS = ("step", "epoch", "seconds", "time")

Curve = list[tuple[float, float]]


def write_training_curves(model_folder: str | Path, output: str | Path) -> None:
    """Draw how training went.

    Args:
        model_folder: A model folder; its `training.json` holds the history.
        output: HTML file to write.

    Raises:
        UserError: If `training.json` is missing or cannot be read.
    """
    facts = read_training_facts(model_folder)
    step = (facts.get("best") or {}).get("step")
    mark = None if step is None else (float(step), "kept")
    curves = {
        name: line_chart(name, [Series(name, points, dots=True)], Axis("step"), Axis(""), mark=mark)
        for name, points in curves_of(facts.get("history")).items()
    }
    description = "Every number of the training history over the steps."
    if mark:
        description += f" The weights kept are those of step {step:,}."
    headline = Headline("", "Training curves", description if curves else "The history is empty.")
    write_page("curves_page.html", output, headline, curves=curves)


def curves_of(history: Sequence[Mapping[str, Any]] | None) -> dict[str, Curve]:
    """The points (step, value) of each number in a list of records; position stands in for step."""
    curves: dict[str, Curve] = {}
    for position, record in enumerate(history or []):
        step = float(record.get("step", position))
        for name, value in record.items():
            if name in _AXIS_KEYS or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                curves.setdefault(str(name), []).append((step, float(value)))
    return curves
