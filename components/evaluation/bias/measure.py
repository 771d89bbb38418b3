"""Every bias metric of every facet: in the data, after balancing and in the predictions."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluation.bias.definitions import DEFINITIONS
from components.evaluation.bias.facets import (
    PREDICTIONS,
    STAGES,
    FacetRows,
    count_rows,
    parse_facets,
)
from components.evaluation.bias.findings import findings, headline
from components.evaluation.bias.gate import judged, parse_gate
from components.evaluation.bias.intervals import (
    FEWEST_CASES,
    FEWEST_ROWS,
    NEVER_ZERO,
    Sampled,
    bounds,
    critical,
    sample,
)
from components.evaluation.bias.reasons import why_undefined
from components.shared.machine.files import write_json
from components.shared.records.labels import labels_of_file
from components.shared.statistics.scores import CONFIDENCE, RESAMPLES, SEED

logger = logging.getLogger(__name__)

ALL_CLASSES = "AD, all classes"
_IN_PREDICTIONS = {"DPL": "DPPL", "CDD": "CDDPL"}
_IN_DATA = {"CDD": "CDDL"}


def measure(
    prepared: str | Path,
    predictions: str | Path,
    summary: str | Path,
    facets: str,
    gate: str = "",
) -> dict[str, Any]:
    """Measure what differs between groups of reviews, with intervals that hold for all at once.

    Args:
        prepared: Parquet of PREPARED_SCHEMA.
        predictions: Parquet of `predictions_schema`, the test split's.
        summary: Where to write the result as JSON.
        facets: Names, see `parse_facets`.
        gate: A limit, see `parse_gate`.

    Returns:
        The content of `summary`.

    Raises:
        UserError: If a facet is not known, the gate makes no sense, or a file cannot be used.
    """
    started = time.perf_counter()
    named = parse_facets(facets)
    classes = labels_of_file(prepared).names
    limit = parse_gate(gate, named, classes)
    counted = count_rows(prepared, predictions, named)
    entries, deviations = measured(counted, classes)
    content = {
        "classes": list(classes),
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "deviations": deviations},
        "fewest": {"rows": FEWEST_ROWS, "cases": FEWEST_CASES},
        "facets": [_described(rows) for rows in counted],
        "definitions": {name: asdict(one) for name, one in DEFINITIONS.items()},
        "headline": headline(entries),
        "findings": findings(entries),
        "gate": {"limit": gate.strip(), **judged(limit, entries)},
        "measures": entries,
        "seconds": time.perf_counter() - started,
    }
    write_json(summary, content)
    logger.info("%s %s", content["headline"], content["gate"]["reason"])
    return content


def measured(
    counted: Sequence[FacetRows], classes: Sequence[str], seed: int = SEED
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """One entry a facet, group, stage, metric and class; and the width of each stage's intervals.

    Intervals hold for all facets, groups, metrics and classes of one stage at once.
    """
    entries, deviations = [], {}
    generator = np.random.default_rng(seed)
    for stage in STAGES:
        present = [
            rows for rows in counted if stage in rows.stages and rows.stages[stage].rows.size
        ]
        sampled = [sample(rows.stages[stage], RESAMPLES, generator) for rows in present]
        deviations[stage] = critical([one.farthest for one in sampled])
        by_chance = critical([one.farthest_by_chance for one in sampled])
        for rows, one in zip(present, sampled, strict=True):
            entries += _entries(rows, stage, classes, one, deviations[stage], by_chance)
    return entries, deviations


def _described(rows: FacetRows) -> dict[str, Any]:
    """A facet and its groups with the rows of each stage."""
    sizes = {
        stage: kinds.totals(kinds.rows * kinds.weight.astype(float), (kinds.group, kinds.groups))
        for stage, kinds in rows.stages.items()
    }
    return {
        "name": rows.facet.name,
        "conditioned_on": rows.facet.given,
        "note": rows.note,
        "groups": [
            {"name": name, "rows": {stage: int(size[place]) for stage, size in sizes.items()}}
            for place, name in enumerate(rows.groups)
        ],
    }


def _entries(
    rows: FacetRows,
    stage: str,
    classes: Sequence[str],
    sampled: Sampled,
    deviations: float,
    by_chance: float,
) -> Iterator[dict[str, Any]]:
    """The entries of one facet and stage."""
    named = _IN_PREDICTIONS if stage == PREDICTIONS else _IN_DATA
    kinds = rows.stages[stage]
    for metric, values in sampled.value.items():
        shown = "AD" if metric == ALL_CLASSES else named.get(metric, metric)
        for place in np.ndindex(values.shape):
            of_class = classes[place[1]] if len(place) > 1 else ""
            entry = {
                "facet": rows.facet.name,
                "group": rows.groups[place[0]],
                "stage": stage,
                "metric": shown,
                "class": of_class,
                **{"value": None, "low": None, "high": None, "chance": None},
            }
            value, spread = float(values[place]), float(sampled.spread[metric][place])
            if not math.isfinite(value):
                entry |= {
                    "standing": "undefined",
                    "why": why_undefined(kinds, metric, place, classes),
                }
            elif not math.isfinite(spread):
                entry |= {"value": value, "standing": "too few to say"}
            else:
                low, high = bounds(metric, value, spread, deviations)
                entry |= {"value": value, "low": low, "high": high}
                none = DEFINITIONS[shown].no_difference
                differs = none is not None and not low <= none <= high
                if metric in NEVER_ZERO:
                    chance = float(sampled.chance[metric][place])
                    width = float(sampled.chance_spread[metric][place])
                    entry["chance"] = chance
                    differs = value > bounds(metric, chance, width, by_chance)[1]
                entry["standing"] = "differs" if differs else "open"
            yield entry
