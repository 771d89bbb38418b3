"""Compose the report of a run from the summaries of its steps."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.machine.files import read_json, replaced_when_whole
from components.shared.records.model_folder import read_training_facts

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent


def compose_report(
    ingest_summary: Path,
    prepare_summary: Path,
    features_summary: Path,
    model_folder: Path,
    evaluation_summary: Path,
    output: Path,
    *,
    registration: Path | None = None,
    deployment_check: Path | None = None,
    step_seconds: Mapping[str, float] | None = None,
    run_facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the report of a run as one HTML page that needs no network.

    Args:
        ingest_summary: JSON that ingest wrote.
        prepare_summary: JSON that prepare wrote.
        features_summary: JSON that features wrote.
        model_folder: What training wrote.
        evaluation_summary: JSON that evaluation wrote.
        output: Where to write the page.
        registration: JSON that the registry wrote, if it came to that.
        deployment_check: JSON that the deployment check wrote, if it came to that.
        step_seconds: Wall time of each step by name, in seconds, in the order of the steps.
        run_facts: What is known of the run: `started`, `pipeline`, `parameters`, `code_version`.

    Raises:
        UserError: If the evaluation summary or `training.json` is missing. Every other part may
            be: its section says so.
    """
    page = _render(
        ingest=_read_if_there(ingest_summary),
        prepare=_read_if_there(prepare_summary),
        features=_read_if_there(features_summary),
        training=read_training_facts(model_folder),
        evaluation=read_json(evaluation_summary),
        registration=_read_if_there(registration) or None,
        check=_read_if_there(deployment_check) or None,
        step_seconds=dict(step_seconds or {}),
        run=dict(run_facts or {}),
    )
    with replaced_when_whole(output) as draft:
        draft.write_text(page, encoding="utf-8")
    log.info("report written to %s", output)


def _read_if_there(path: Path | None) -> dict[str, Any]:
    """The content of a summary; empty where there is none."""
    return read_json(path) if path is not None and Path(path).is_file() else {}


def _render(
    *,
    ingest: dict[str, Any],
    prepare: dict[str, Any],
    features: dict[str, Any],
    training: dict[str, Any],
    evaluation: dict[str, Any],
    registration: dict[str, Any] | None,
    check: dict[str, Any] | None,
    step_seconds: dict[str, float],
    run: dict[str, Any],
) -> str:
    """The page. Whatever a summary lacks becomes a dash or is left out."""
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader
    from markupsafe import Markup

    from components.report.training_figures import figures_of
    from components.report.formats import FILTERS
    from components.report.training_verdict import verdict_of

    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    missing = (ingest.get("profile") or {}).get("missing") or {}
    offsets = (evaluation.get("calibration") or {}).get("decision_offsets") or []
    return environment.get_template("training_page.html").render(
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
        verdict=verdict_of(evaluation, registration, check),
        conditions=_conditions(evaluation),
        figures=figures_of(ingest, training, evaluation),
        ingest=ingest,
        source_name=str(ingest.get("source") or "").rstrip("/").rsplit("/", 1)[-1],
        prepare=prepare,
        features=features,
        training=training,
        evaluation=evaluation,
        registration=registration,
        check=check,
        run=run,
        steps=list(step_seconds.items()),
        total_seconds=sum(step_seconds.values()) if step_seconds else None,
        missing=[(name, rows) for name, rows in missing.items() if rows],
        decision_offsets=(
            list(zip(evaluation.get("classes") or [], offsets, strict=False))
            if any(offsets)
            else []
        ),
    )


def _conditions(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gate's conditions with whether each is met."""
    gate = evaluation["gate"]
    return [
        {"words": words, "met": met}
        for words, met in zip(gate["reasons"], gate["met"], strict=True)
    ]
