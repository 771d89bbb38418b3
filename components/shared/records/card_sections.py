"""What a model card says of data, slices, bias, explanations and cost, as lines of Markdown.

Every summary is read as far as it goes: what an older run did not write has no line. Names that
come from data are escaped.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

Summary = Mapping[str, Any]

_MARKUP = re.compile(r"([\\`*_\[\]|~$]|(?<=^)[-+=#]|(?<=^\d)[.)])")
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\u2028\u2029]+")
MISSING = "\u2013"
_MOST_ROWS = 12
"""Rows of the table of a kind of slices."""


@dataclass(frozen=True)
class Summaries:
    """What the steps of a run found, by step; empty where one did not run."""

    evaluation: Summary = field(default_factory=dict)
    bias: Summary = field(default_factory=dict)
    explanation: Summary = field(default_factory=dict)
    label_noise: Summary = field(default_factory=dict)
    ingest: Summary = field(default_factory=dict)


def escaped(text: Any) -> str:
    """A text in one line that Markdown and HTML show as it is."""
    line = _UNWRITABLE.sub(" ", str(text)).strip()
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("://", "&#58;//")):
        line = line.replace(character, entity)
    return _MARKUP.sub(r"\\\1", line)


def code(text: Any) -> str:
    """A text in one line as code."""
    return f"`{_UNWRITABLE.sub(' ', str(text)).replace('`', chr(39))}`"


def listed(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def data_lines(training: Summary, summaries: Summaries, names: Sequence[str]) -> list[str]:
    """Where the reviews come from, how many learned and judged, and how sure their labels are."""
    rows, ingest = _mapping(training, "rows"), summaries.ingest
    shares = zip(names, training.get("class_prior") or [], strict=False)
    by_class = ", ".join(f"{escaped(name)} {share:.1%}" for name, share in shares)
    lines = [
        f"- {rows.get('train', '?')} reviews ({by_class}), watched on "
        f"{rows.get('validation', '?')} others"
    ]
    if (tested := _number(summaries.evaluation, "rows")) is not None:
        lines.append(f"- judged on {tested:,.0f} test reviews, which nothing was chosen by")
    if (read := _number(ingest, "rows_in")) is not None:
        kept, where = _number(ingest, "rows_kept"), code(_without_secrets(ingest.get("source")))
        lines.append(f"- source: {where}, {read:,.0f} rows read, {kept or 0:,.0f} kept")
    if weak := _number(training, "weak_share"):
        lines.append(f"- {weak:.1%} of the training labels are guesses of labelling functions")
    noise, looked = summaries.label_noise, _number(summaries.label_noise, "rows")
    if looked and (suspects := _number(noise, "suspects")) is not None:
        verdict = f". {escaped(noise['verdict'])}" if noise.get("verdict") else ""
        lines.append(f"- {suspects / looked:.1%} of the labels are in doubt{verdict}")
    return lines


def slice_lines(evaluation: Summary) -> list[str]:
    """Accuracy and macro-F1 of each slice, with intervals; the largest slices of each kind."""
    lines = []
    for kind, slices in _mapping(evaluation, "slices").items():
        rows = [
            f"| {escaped(one.get('name', ''))} | {one.get('rows', '?')} | "
            f"{_estimate(one, 'accuracy')} | {_estimate(one, 'macro_f1')} |"
            for one in listed(slices)[:_MOST_ROWS]
        ]
        if rows:
            head = f"| {escaped(kind)} | reviews | accuracy | macro-F1 |"
            lines += [head, "| --- | ---: | ---: | ---: |", *rows, ""]
    return lines


def bias_lines(bias: Summary) -> list[str]:
    """What differs between groups for sure, and whether a limit was kept."""
    if not bias.get("headline"):
        return []
    facets = [escaped(str(one.get("name")).replace("_", " ")) for one in listed(bias.get("facets"))]
    lines = [
        f"By {', '.join(facets)}, with intervals that hold for all groups and metrics at once."
    ]
    lines += ["", escaped(bias["headline"]), ""]
    lines += [f"- {escaped(sentence)}" for sentence in listed(bias.get("findings"))]
    gate = _mapping(bias, "gate")
    if gate.get("limit"):
        lines += ["", f"Limit {code(gate['limit'])}: {escaped(gate.get('reason', ''))}"]
    return lines


def explanation_lines(explanation: Summary) -> list[str]:
    """How well explanations by integrated gradients tell what the answers rest on."""
    fall = _number(explanation, "deletion", "value")
    by_chance = _number(explanation, "deletion", "random")
    if fall is None or by_chance is None:
        return []
    low, high = (_number(explanation, "deletion", end) for end in ("low", "high"))
    between = f" ({low:.2f} to {high:.2f})" if low is not None and high is not None else ""
    lines = [
        "Deleting the words that integrated gradients finds important lowers the probability of "
        f"the answer by {fall:.2f}{between} on average; deleting as many words at random, by "
        f"{by_chance:.2f}."
    ]
    if (error := _number(explanation, "completeness_error")) is not None:
        lines.append(f"Attributions miss the sum that they should have by {error:.1%} (median).")
    return lines


def cost_lines(training: Summary, evaluation: Summary) -> list[str]:
    """What training took, on what, and how fast the model answered."""
    speed, lines = _mapping(training, "speed"), []
    if (seconds := _number(speed, "seconds")) is not None:
        where = f" on {escaped(training['machine'])}" if training.get("machine") else ""
        rate = _number(speed, "samples_per_second")
        fast = f", {rate:,.0f} reviews a second" if rate is not None else ""
        lines.append(f"- trained in {_duration(seconds)}{where}{fast}")
    if (rate := _number(evaluation, "reviews_per_second")) is not None:
        lines.append(f"- judged at {rate:,.0f} reviews a second")
    return lines


def class_lines(evaluation: Summary) -> list[str]:
    """Precision, recall and F1 of each class, with intervals."""
    rows = [
        f"| {escaped(one.get('name', ''))} | {one.get('support', '?')} | "
        f"{_estimate(one, 'precision')} | {_estimate(one, 'recall')} | {_estimate(one, 'f1')} |"
        for one in listed(evaluation.get("per_class"))
    ]
    head = [
        "",
        "| class | reviews | precision | recall | F1 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    return [*head, *rows] if rows else []


def _estimate(entry: Summary, name: str) -> str:
    """A score with its interval; a dash where it is missing."""
    value, low, high = (_number(entry, name, part) for part in ("value", "low", "high"))
    if value is None:
        return MISSING
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if None not in (low, high) else "")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _without_secrets(source: Any) -> str:
    """A URI without user, password and query; of a path on a machine only its last part."""
    parts = urlsplit(str(source or ""))
    if not parts.scheme or parts.scheme == "file":
        return PurePosixPath(parts.path).name or "?"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _mapping(summary: Summary, name: str) -> Summary:
    found = summary.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(summary: Any, *path: str) -> float | None:
    """A finite number that lies in nested mappings; None where it does not."""
    for name in path:
        summary = summary.get(name) if isinstance(summary, Mapping) else None
    is_number = isinstance(summary, int | float) and not isinstance(summary, bool)
    return float(summary) if is_number and math.isfinite(summary) else None
