"""Compose the report of a run from the summaries of its steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.contracts.files import read_json, replaced_when_whole
from components.contracts.model_folder import read_training_facts


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
        step_seconds: Wall time of each step by name, in seconds.
        run_facts: What is known of the run: id, parameters, machine.
    """
    import json

    from jinja2 import Environment

    page = Environment(autoescape=True).from_string(
        "<!doctype html><meta charset=utf-8><title>Run</title>"
        "{% for name, value in parts.items() %}<h2>{{ name }}</h2><pre>{{ value }}</pre>"
        "{% endfor %}"
    )
    parts = {
        "ingest": read_json(ingest_summary),
        "prepare": read_json(prepare_summary),
        "features": read_json(features_summary),
        "training": read_training_facts(model_folder),
        "evaluation": read_json(evaluation_summary),
        "registration": read_json(registration) if registration else None,
        "deployment check": read_json(deployment_check) if deployment_check else None,
        "seconds": dict(step_seconds or {}),
        "run": dict(run_facts or {}),
    }
    text = page.render(parts={name: json.dumps(part, indent=1) for name, part in parts.items()})
    with replaced_when_whole(output) as draft:
        draft.write_text(text, encoding="utf-8")
