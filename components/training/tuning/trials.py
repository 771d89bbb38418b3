"""The trials of a search, wherever they ran: the best of them, in words, in MLflow."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

logger = logging.getLogger(__name__)

VALIDATION_SCORES = ("macro_f1", "accuracy", "validation_loss")
"""The scores of a training run, by their names in its result."""

FINISHED, FAILED, STOPPED_EARLY = "finished", "failed", "stopped early"

Trial = dict[str, Any]
"""`trial` (its number), `parameters`, `status` (`finished`, `failed`, or `stopped early` by a rule
of Katib's, with the metrics that it had reached), `metrics`, `seconds`, and `reason` where it
failed."""

_MLFLOW_STATUS = {FINISHED: "FINISHED", FAILED: "FAILED", STOPPED_EARLY: "KILLED"}


def best_trial(table: Sequence[Trial], objective: str, *, maximize: bool) -> Trial | None:
    """The finished trial with the best objective, the earliest of equals; None if none finished."""
    sign = 1 if maximize else -1
    return max(
        (trial for trial in table if trial["status"] == FINISHED),
        key=lambda trial: (sign * trial["metrics"][objective], -trial["trial"]),
        default=None,
    )


def in_words(parameters: Mapping[str, float | int | str]) -> str:
    """Parameters as people write them: `learning_rate 3e-05, epochs 3`."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


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
        # The log of the trials is the record; tracking must not cost a finished trial.
        logger.warning("trial %d is not in MLflow: %s", trial["trial"], error)
