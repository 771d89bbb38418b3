"""The report of a training run, composed from the summaries of its steps."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.report.page import read_if_there, write_page
from components.report.training_figures import figures_of
from components.report.training_verdict import gate_of, headline_of
from components.shared.machine.files import read_json
from components.shared.records.model_folder import read_training_facts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunArtifacts:
    """Paths of what the steps of a run wrote: JSON summaries, and the model folder.

    Bias need not have been measured; registration and deployment check are there only if it came to
    that.
    """

    ingest: str | Path
    prepare: str | Path
    features: str | Path
    model_folder: str | Path
    evaluation: str | Path
    bias: str | Path | None = None
    registration: str | Path | None = None
    deployment_check: str | Path | None = None


def compose_report(
    artifacts: RunArtifacts,
    output: str | Path,
    *,
    step_seconds: Mapping[str, float] | None = None,
    run_facts: Mapping[str, Any] | None = None,
    pages: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Write the report of a run as one HTML page that needs no network.

    Args:
        artifacts: Where its numbers are.
        output: HTML file to write.
        step_seconds: Wall time of each step by name, in seconds, in the order of the steps.
        run_facts: What is known of the run: `started`, `pipeline`, `parameters`, `code_version`.
        pages: Step, title and relative address of each further page of the run.

    Raises:
        UserError: If the evaluation summary or `training.json` is missing. Every other part may
            be: its section says so.
    """
    ingest, prepare = read_if_there(artifacts.ingest), read_if_there(artifacts.prepare)
    training = read_training_facts(artifacts.model_folder)
    evaluation = read_json(artifacts.evaluation)
    registration = read_if_there(artifacts.registration)
    check = read_if_there(artifacts.deployment_check)
    evaluation["gate"] = gate = gate_of(evaluation, read_if_there(artifacts.bias))
    classes = evaluation.get("classes") or []
    missing = (ingest.get("profile") or {}).get("missing") or {}
    offsets = (evaluation.get("calibration") or {}).get("decision_offsets") or []
    steps = dict(step_seconds or {})
    write_page(
        "training_page.html",
        output,
        headline_of(evaluation, registration or None, check or None),
        conditions=list(zip(gate["reasons"], gate["met"], strict=True)),
        figures=figures_of(ingest, training, evaluation),
        ingest=ingest,
        source_name=str(ingest.get("source") or "").rstrip("/").rsplit("/", 1)[-1],
        prepare=prepare,
        features=read_if_there(artifacts.features),
        training=training,
        evaluation=evaluation,
        classes=classes,
        registration=registration or None,
        check=check or None,
        run=dict(run_facts or {}),
        steps=list(steps.items()),
        pages=pages,
        total_seconds=sum(steps.values()) if steps else None,
        # A field that no row has is not one that this data lacks here and there.
        missing=[(name, n) for name, n in missing.items() if 0 < n < ingest["rows_kept"]],
        not_read=_columns_not_read(ingest),
        decision_offsets=list(zip(classes, offsets, strict=False)) if any(offsets) else [],
    )
    log.info("report written to %s", output)


def _columns_not_read(ingest: Mapping[str, Any]) -> list[str]:
    """Names of the columns that ingest ignored, and of each only once."""
    files = ingest.get("files") or []
    return list(dict.fromkeys(name for file in files for name in file.get("ignored") or []))
