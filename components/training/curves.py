"""How training went, drawn: a page of its own, without scripts or a network."""

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.shared.machine.files import replaced_when_whole
from components.shared.records.model_folder import read_training_facts

_WIDTH, _HEIGHT, _MARGIN = 420, 200, 34
_AXIS_KEYS = ("step", "epoch", "seconds", "time")

Curve = list[tuple[float, float]]


def write_training_curves(model_folder: str | Path, page: str | Path) -> None:
    """Draw each number of the training history over the steps.

    Args:
        model_folder: A model folder; its `training.json` holds the history.
        page: HTML file to write.
    """
    curves = curves_of(read_training_facts(model_folder).get("history"))
    drawings = "".join(_drawing(name, points) for name, points in curves.items())
    body = drawings or "<p>The history is empty.</p>"
    with replaced_when_whole(page) as draft:
        draft.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Training curves</title>'
            "<style>body{font:14px sans-serif}figure{display:inline-block;margin:12px}"
            "figcaption{font-weight:600}polyline{fill:none;stroke:#2563eb;stroke-width:2}"
            "circle{fill:#2563eb}line{stroke:#ccc}text{font-size:11px;fill:#555}</style>"
            f"{body}</html>\n",
            encoding="utf-8",
        )


def curves_of(history: Any) -> dict[str, Curve]:
    """The points (step, value) of each number in the history.

    Args:
        history: A list of records, whose step is `step`, else their position; or a mapping of
            names to such lists.
    """
    if isinstance(history, Mapping):
        return {
            f"{group} {name}": points
            for group, records in history.items()
            for name, points in curves_of(records).items()
        }
    curves: dict[str, Curve] = {}
    records = history if isinstance(history, Sequence) and not isinstance(history, str) else []
    for position, record in enumerate(records):
        if not isinstance(record, Mapping):
            continue
        step = float(record.get("step", position))
        for name, value in record.items():
            if name in _AXIS_KEYS or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                curves.setdefault(str(name), []).append((step, float(value)))
    return curves


def _drawing(name: str, points: Curve) -> str:
    """One curve as SVG, with the ends of both axes written beside it."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    left, right, low, high = min(steps), max(steps), min(values), max(values)

    def at(step: float, value: float) -> tuple[float, float]:
        x = (step - left) / (right - left) if right > left else 0.5
        y = (value - low) / (high - low) if high > low else 0.5
        return (
            round(_MARGIN + x * (_WIDTH - 2 * _MARGIN), 1),
            round(_HEIGHT - _MARGIN - y * (_HEIGHT - 2 * _MARGIN), 1),
        )

    places = [at(step, value) for step, value in points]
    line = " ".join(f"{x},{y}" for x, y in places)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="2.5"/>' for x, y in places[:200])
    base = _HEIGHT - _MARGIN
    return (
        f"<figure><figcaption>{html.escape(name)}</figcaption>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{html.escape(name)}">'
        f'<line x1="{_MARGIN}" y1="{base}" x2="{_WIDTH - _MARGIN}" y2="{base}"/>'
        f'<line x1="{_MARGIN}" y1="{_MARGIN}" x2="{_MARGIN}" y2="{base}"/>'
        f'<text x="{_MARGIN}" y="{_MARGIN - 8}">{high:.4g}</text>'
        f'<text x="{_MARGIN + 4}" y="{base - 4}">{low:.4g}</text>'
        f'<text x="{_MARGIN}" y="{base + 16}">step {left:g}</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{base + 16}" text-anchor="end">{right:g}</text>'
        f'<polyline points="{line}"/>{dots}</svg></figure>'
    )
