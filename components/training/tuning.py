"""Random search on one machine: the trials of the Katib Experiment, one after another."""

import hashlib
import html
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.contracts.errors import UserError
from components.contracts.files import (
    read_json,
    replaced_when_whole,
    sha256_of_file,
    write_json,
)
from components.training.search_space import SearchSpace, Value, read_search_space

logger = logging.getLogger(__name__)

_EXPERIMENT = Path(__file__).resolve().parents[2] / "manifests/base/katib/experiment.yaml"

VALIDATION_SCORES = ("macro_f1", "accuracy", "validation_loss")
"""The scores of a training run, by their names in its result."""

Trial = dict[str, Any]
"""`trial` (its number), `parameters`, `status` (`finished` or `failed`), `metrics`, `seconds`, and
`reason` where it failed."""


def random_search(
    training_set: str | Path,
    base_model: str,
    base_options: Mapping[str, Any],
    experiment: str | Path,
    trials: int,
    trials_log: str | Path,
    work_folder: str | Path,
    *,
    seed: int = 42,
) -> dict[str, Any]:
    """Try training options drawn from the search space; return the best.

    A trial that fails is recorded and the search goes on. A search that was broken off goes on
    where it stopped: trials that finished are not run again. Models of trials are not kept;
    training runs again with the best options.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        base_options: Training options; a trial's draws replace those of the same name.
        experiment: Katib Experiment manifest.
        trials: How many to run.
        trials_log: JSON file to write the list of `Trial` to.
        work_folder: Folder that outlives a broken run.
        seed: Of the draws, where the manifest has no `random_state`.

    Returns:
        All training options of the best trial.

    Raises:
        UserError: If the manifest or an option is wrong, `trials` is below 1, or all trials fail.
    """
    from components.training.options import TrainingOptions

    if trials < 1:
        raise UserError(f"a search of {trials} trials finds nothing; ask for at least 1")
    space = read_search_space(experiment)
    options = TrainingOptions.from_dict(dict(base_options)).to_dict()
    rng = np.random.default_rng(seed if space.random_state is None else space.random_state)
    draws = [space.sample(rng) for _ in range(trials)]
    for draw in draws:
        TrainingOptions.from_dict({**options, **draw})
    work = Path(work_folder)
    work.mkdir(parents=True, exist_ok=True)
    progress = work / "trials.json"
    search = _fingerprint(sha256_of_file(training_set), base_model, options)
    finished = _finished_before(progress, search)
    table: list[Trial] = []
    for number, draw in enumerate(draws, start=1):
        before = next((trial for trial in finished if trial["parameters"] == draw), None)
        if before is not None:
            logger.info("trial %d of %d ran before", number, trials)
            table.append({**before, "trial": number})
            continue
        logger.info("trial %d of %d: %s", number, trials, in_words(draw))
        trial = _run(number, draw, Path(training_set), base_model, options, space, work)
        table.append(trial)
        write_json(progress, {"search": search, "trials": table})
        _log_to_mlflow(trial, base_model)
    write_json(trials_log, table)
    best = best_trial(table, space)
    if best is None:
        raise UserError(f"all {trials} trials failed; the last one: {table[-1]['reason']}")
    logger.info(
        "best is trial %d with %s %.4f: %s",
        best["trial"],
        space.objective,
        best["metrics"][space.objective],
        in_words(best["parameters"]),
    )
    return TrainingOptions.from_dict({**options, **best["parameters"]}).to_dict()


def experiment_file() -> Path:
    """The one description of the search: the manifest of the checkout, or `KATIB_EXPERIMENT`."""
    return Path(os.environ.get("KATIB_EXPERIMENT") or _EXPERIMENT)


def best_trial(table: Sequence[Trial], space: SearchSpace) -> Trial | None:
    """The finished trial with the best objective, the earliest of equals; None if none finished."""
    finished = [trial for trial in table if trial["status"] == "finished"]
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


def _run(
    number: int,
    draw: Mapping[str, Value],
    training_set: Path,
    base_model: str,
    options: Mapping[str, Any],
    space: SearchSpace,
    work: Path,
) -> Trial:
    """Run one trial; whatever goes wrong in it is its result."""
    from components.training.fine_tune import fine_tune
    from components.training.options import TrainingOptions

    trial: Trial = {"trial": number, "parameters": dict(draw), "metrics": {}}
    folder = work / f"trial-{number}"
    started = time.monotonic()
    try:
        result = fine_tune(
            training_set,
            base_model,
            TrainingOptions.from_dict({**options, **draw}),
            folder,
            None,
        )
        metrics = {
            name: float(getattr(result, name))
            for name in VALIDATION_SCORES
            if math.isfinite(getattr(result, name))
        }
        if space.objective not in metrics:
            raise UserError(f"training ended without a finite {space.objective}")
        trial.update(status="finished", metrics=metrics)
    except Exception as error:
        logger.warning("trial %d failed: %s", number, error)
        trial.update(status="failed", reason=f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    trial["seconds"] = round(time.monotonic() - started, 1)
    return trial


def _fingerprint(*facts: Any) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _finished_before(progress: Path, search: str) -> list[Trial]:
    """Trials of the same search that finished before it was broken off."""
    if not progress.exists():
        return []
    try:
        record = read_json(progress)
        if record["search"] != search:
            return []
        return [trial for trial in record["trials"] if trial["status"] == "finished"]
    except (UserError, KeyError, TypeError):
        return []


def _log_to_mlflow(trial: Trial, base_model: str) -> None:
    """Log a trial as a run of the experiment `tuning`, where MLflow is set up."""
    from components.contracts.tracking import TRACKING_URI, experiment_id, tracking_client

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
        client.set_terminated(
            run.info.run_id, "FINISHED" if trial["status"] == "finished" else "FAILED"
        )
    except Exception as error:
        # The trials table is the record; tracking must not cost a finished trial.
        logger.warning("trial %d is not in MLflow: %s", trial["trial"], error)
