"""Whether the answers of a window are of the kind that the version was made for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from components.monitoring.alarm_budget import holm
from components.monitoring.cells import Cells, cells_of_names, cells_of_numbers, ranges
from components.monitoring.wording import TITLES, in_words, percent, tail_of
from components.shared.records.monitoring_summary import Finding
from components.shared.records.text_statistics import TEXT_STATISTICS

NAMES: tuple[str, ...] = ("product_category", "label")
NUMBERS: tuple[str, ...] = ("confidence", *(field.name for field in TEXT_STATISTICS))

_LEAST_WIDTH = {"confidence": 0.01}
"""Engines of one network differ in the third digit: finer edges would call that drift."""

TELLS_THE_CAUSE = ("unknown_share", "function_word_share")
"""Columns that need no words of their own where `causes_of` says what they point at."""

LEAST_KNOWN = 200
"""Values that both sides need, or the column is not compared."""


def compare_columns(
    reference: pa.Table, answers: pa.Table
) -> tuple[list[tuple[Finding, Cells]], dict[str, str]]:
    """Test each column that both tables hold.

    Args:
        reference: What the version was made from, with `confidence`; null where a row has no value.
        answers: Different answers of the window, with the same columns.

    Returns:
        The findings, not yet corrected for their number; and why other columns are not compared.
    """
    found, missing = [], {}
    for name in (*NAMES, *NUMBERS):
        before, now = (_known(table[name]) for table in (reference, answers))
        for values, where in ((before, "reference"), (now, "log")):
            if len(values) < LEAST_KNOWN and name not in missing:
                known = f"has {len(values)} of" if len(values) else "does not hold"
                missing[name] = f"the {where} {known} it"
        if name not in missing:
            cells = (
                cells_of_names(before, now)
                if name in NAMES
                else cells_of_numbers(before, now, _LEAST_WIDTH.get(name, 0.0))
            )
            found.append((_finding(name, cells), cells))
    return found, missing


def judged(findings: Sequence[Finding], alpha: float, min_effect: float) -> list[Finding]:
    """The family of tests with corrected p-values and verdicts, the largest effect first."""
    corrected = holm([finding.p for finding in findings])
    made = [
        replace(one, p_holm=p, drifted=bool(p <= alpha and one.effect >= min_effect))
        for one, p in zip(findings, corrected, strict=True)
    ]
    return sorted(made, key=lambda one: (not one.drifted, -one.effect))


def causes_of(found: Sequence[tuple[Finding, Cells]], drifted: set[str]) -> list[str]:
    """What drifted columns together point at, in words."""
    cells = {finding.name: cells for finding, cells in found}
    if "unknown_share" not in drifted:
        return []
    if "function_word_share" in drifted:
        share = _strange(cells["function_word_share"])
        if share is not None:
            return [
                f"about {percent(share)} of the reviews seem to be in another language: hardly any "
                "English function words, and words that training did not know"
            ]
    if tail_of(cells["unknown_share"])[1]:
        return ["words are misspelt more often than in training, or are new to the model"]
    return []


def _strange(cells: Cells) -> float | None:
    """Share of rows in excess in the lower tail; None where it is not the tail that changed."""
    before, now = cells.shares
    place, above = tail_of(cells)
    low, low_before = (float(np.cumsum(shares)[place]) for shares in (now, before))
    if above or low_before > 0.1:
        return None
    return (low - low_before) / (1 - low_before)


def _known(column: pa.ChunkedArray) -> Any:
    """The values that are neither null nor NaN."""
    values = column.drop_null()
    if pa.types.is_string(values.type):
        return values.to_pylist()
    numbers = values.to_numpy().astype(float)
    return numbers[np.isfinite(numbers)]


def _finding(name: str, cells: Cells) -> Finding:
    before, now = cells.shares
    names = cells.names
    if name in NUMBERS and name != "n_words":
        names = ranges(cells.edges, percent)
    return Finding(
        name=name,
        title=TITLES[name],
        words=in_words(name, cells) if len(cells.names) > 1 else "",
        drifted=False,
        p=cells.p_value,
        p_holm=1.0,
        effect=cells.effect,
        chance=cells.effect_by_chance,
        rows=int(cells.now.sum()),
        cells=[
            {"name": each, "reference": float(a), "now": float(b)}
            for each, a, b in zip(names, before, now, strict=True)
        ],
    )
