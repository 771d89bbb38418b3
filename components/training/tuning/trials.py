"""The trials of a search, wherever they ran: the best of them, as a table, in MLflow."""

import html
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole
from components.training.tuning.experiment import SearchSpace, Value, read_search_space

logger = logging.getLogger(__name__)

VALIDATION_SCORES = ("macro_f1", "accuracy", "validation_loss")
"""The scores of a training run, by their names in its result."""

FINISHED, FAILED, STOPPED_EARLY = "finished", "failed", "stopped early"

Trial = dict[str, Any]
"""`trial` (its number), `parameters`, `status` (`finished`, `failed`, or `stopped early` by a rule
of Katib's, which then tells what it had reached), `metrics`, `seconds`, and `reason` where it
failed."""

_MLFLOW_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", STOPPED_EARLY: "KILLED"}


def best_of(
    table: Sequence[Trial], space: SearchSpace, options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, float]]:
    """What a search has found.

    Args:
        table: The trials, at least one.
        space: What was searched, and for what.
        options: Training options; the best trial's parameters replace those of the same name.

    Returns:
        All training options of the best trial, and its scores on validation.

    Raises:
        UserError: If none finished.
    """
    from components.training.options import TrainingOptions

    best = best_trial(table, space)
    if best is None:
        reasons = [trial["reason"] for trial in table if trial.get("reason")]
        raise UserError(
            f"all {len(table)} trials failed; the last one: {reasons[-1] if reasons else 'unknown'}"
        )
    logger.info(
        "best is trial %d with %s %.4f: %s",
        best["trial"],
        space.objective,
        best["metrics"][space.objective],
        in_words(best["parameters"]),
    )
    found = TrainingOptions.from_dict({**options, **best["parameters"]}).to_dict()
    return found, dict(best["metrics"])


def best_trial(table: Sequence[Trial], space: SearchSpace) -> Trial | None:
    """The finished trial with the best objective, the earliest of equals; None if none finished."""
    finished = [trial for trial in table if trial["status"] == FINISHED]
    sign = 1 if space.maximize else -1
    return max(
        finished,
        key=lambda trial: (sign * trial["metrics"][space.objective], -trial["trial"]),
        default=None,
    )


def in_words(parameters: Mapping[str, Value]) -> str:
    """Parameters as people write them: `learning_rate 3e-05, epochs 3`."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


def write_trials_table(table: Sequence[Trial], experiment: str | Path, page: str | Path) -> None:
    """Write the trials as an HTML table, the best one marked.

    Args:
        table: The trials.
        experiment: Katib Experiment manifest.
        page: HTML file to write.
    """
    space = read_search_space(experiment)
    best = best_trial(table, space)
    parameters = [parameter.name for parameter in space.parameters]
    metrics = sorted({name for trial in table for name in trial["metrics"]})
    metrics.sort(key=lambda name: name != space.objective)
    rows = []
    for trial in table:
        cells = [str(trial["trial"]), trial["status"]]
        cells += [_cell(trial["parameters"].get(name)) for name in parameters]
        cells += [_cell(trial["metrics"].get(name)) for name in metrics]
        cells += [f"{trial['seconds']:.0f}", trial.get("reason", "")]
        mark = ' class="best"' if trial is best else ""
        rows.append(f"<tr{mark}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    heads = ["trial", "status", *parameters, *metrics, "seconds", "reason"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    with replaced_when_whole(page) as draft:
        draft.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Trials</title><style>'
            "body{font:14px sans-serif}table{border-collapse:collapse}"
            "th,td{padding:4px 10px;border-bottom:1px solid #ddd;text-align:left}"
            ".best{background:#e6f4ea}</style>"
            f"<table><tr>{head}</tr>{''.join(rows)}</table></html>\n",
            encoding="utf-8",
        )


def _cell(value: Value | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def log_to_mlflow(trial: Trial, base_model: str) -> None:
    """Log a trial as a run of the experiment `tuning`, where MLflow is set up."""
    from components.shared.machine.tracking import TRACKING_URI, experiment_id, tracking_client

    if not os.environ.get(TRACKING_URI):
        return
    try:
        client = tracking_client()
        run = client.create_run(
            experiment_id(client, "tuning", injected=False), run_name=f"trial-{trial['trial']}"
        )
        client.log_param(run.info.run_id, "base_model", base_model)
        for name, value in trial["parameters"].items():
            client.log_param(run.info.run_id, name, value)
        for name, value in trial["metrics"].items():
            client.log_metric(run.info.run_id, name, value)
        client.set_terminated(run.info.run_id, _MLFLOW_STATUS[trial["status"]])
    except Exception as error:
        # The trials table is the record; tracking must not cost a finished trial.
        logger.warning("trial %d is not in MLflow: %s", trial["trial"], error)
