"""Tuning as a pipeline's step: by Katib on a cluster, by the same search in process elsewhere."""

import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file, surviving_folder, write_json
from components.shared.machine.search_space import SearchSpace, in_words
from components.training.options import TrainingOptions
from components.training.tuning.experiment import (
    FAILED,
    FINISHED,
    VALIDATION_SCORES,
    Trial,
    best_trial,
    experiment_file,
    log_to_mlflow,
    read_search_space,
)

TUNING_BACKEND = "TUNING_BACKEND"
"""Environment variable: `katib` sends the search to Katib; set on a cluster only."""

logger = logging.getLogger(__name__)


def tune(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    trials: int,
    trials_log: str | Path,
    *,
    nodes: int = 1,
    gpus_per_node: int = 1,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Search; the same call after a kill goes on where the search is.

    The search replaces those of the hyperparameters that it draws. `trials_log` is a JSON file to
    write: `objective`, `best` (number of the best trial) and `trials`.

    Returns:
        All training options of the best trial, and its scores on validation.

    Raises:
        UserError: If the manifest of the search, an option or the scale is wrong, the cluster
            refuses, or all trials fail.
    """
    backend = os.environ.get(TUNING_BACKEND, "")
    if backend not in ("", "katib"):
        raise UserError(f"{TUNING_BACKEND} is {backend!r}; set it to katib, or leave it unset")
    if trials < 1:
        raise UserError(f"a search needs at least 1 trial, not {trials}")
    space = read_search_space(experiment_file())
    options = TrainingOptions.from_dict(hyperparameters)
    # What is searched must be training options, which Katib cannot know.
    TrainingOptions.from_dict(space.sample(np.random.default_rng(options.seed)))
    if backend == "katib":
        from components.training.tuning.katib_search import katib_search

        table = katib_search(
            training_set,
            base_model,
            options.to_dict(),
            experiment_file(),
            trials,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
        )
        for trial in table:
            log_to_mlflow(trial, base_model)
    else:
        table = _search_here(training_set, base_model, options, space, trials)
    best = best_trial(table, space.objective, maximize=space.maximize)
    content = {
        "objective": space.objective,
        "best": None if best is None else best["trial"],
        "trials": table,
    }
    write_json(trials_log, content)
    if best is None:
        reasons = [trial["reason"] for trial in table if trial.get("reason")]
        raise UserError(
            f"all {len(table)} trials failed; the last one: {reasons[-1] if reasons else 'unknown'}"
        )
    logger.info(
        "best is trial %d with %s %.4f: %s",
        *(best["trial"], space.objective, best["metrics"][space.objective]),
        in_words(best["parameters"]),
    )
    chosen = TrainingOptions.from_dict({**options.to_dict(), **best["parameters"]})
    return chosen.to_dict(), dict(best["metrics"])


def options_as_given(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """All training options without a search: those given, checked, and the defaults."""
    return TrainingOptions.from_dict(hyperparameters).to_dict()


def _search_here(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    space: SearchSpace,
    trials: int,
) -> list[Trial]:
    """Search in this process; the same call after a kill does not repeat trials that finished."""
    facts = (sha256_of_file(training_set), base_model, options.under_former_names())
    with tempfile.TemporaryDirectory() as scratch:
        work = surviving_folder("tune", *facts) or Path(scratch)
        table = random_search(training_set, base_model, options, space, trials, work)
        shutil.rmtree(work, ignore_errors=True)
    return table


def random_search(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    space: SearchSpace,
    trials: int,
    work: Path,
) -> list[Trial]:
    """Try training options drawn from the search space, one trial after another.

    A trial that fails is recorded and the search goes on. A search that was broken off goes on
    where it stopped, by what is in its work folder. Models of trials are thrown away; training runs
    again with the best options. A trial's draws replace the options of the same name; the options'
    seed draws where the search space has none.
    """
    rng = np.random.default_rng(options.seed if space.random_state is None else space.random_state)
    draws = [space.sample(rng) for _ in range(trials)]
    drawn = [TrainingOptions.from_dict({**options.to_dict(), **draw}) for draw in draws]
    work.mkdir(parents=True, exist_ok=True)
    progress = work / "trials.json"
    facts = [sha256_of_file(training_set), base_model, options.under_former_names()]
    search = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    finished = _finished_before(progress, search)
    table: list[Trial] = []
    for number, (draw, tried) in enumerate(zip(draws, drawn, strict=True), start=1):
        before = next((trial for trial in finished if trial["parameters"] == draw), None)
        if before is not None:
            logger.info("trial %d of %d ran before", number, trials)
            table.append({**before, "trial": number})
            continue
        logger.info("trial %d of %d: %s", number, trials, in_words(draw))
        started = time.monotonic()
        trial: Trial = {"trial": number, "parameters": draw}
        trial |= _outcome(
            training_set, base_model, tried, space.objective, work / f"trial-{number}"
        )
        trial["seconds"] = round(time.monotonic() - started, 1)
        table.append(trial)
        write_json(progress, {"search": search, "trials": table})
        log_to_mlflow(trial, base_model)
    return table


def _outcome(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    objective: str,
    folder: Path,
) -> dict[str, Any]:
    """Status and metrics of one trial; whatever goes wrong in it is its result."""
    from components.training.fine_tune import fine_tune

    try:
        result = fine_tune(training_set, base_model, options, folder)
        scores = {name: float(getattr(result, name)) for name in VALIDATION_SCORES}
        metrics = {name: value for name, value in scores.items() if math.isfinite(value)}
        if objective not in metrics:
            raise UserError(f"training ended without a finite {objective}")
    except Exception as error:
        logger.warning("the trial failed: %s", error)
        reason = f"{type(error).__name__}: {error}"
        return {"metrics": {}, "status": FAILED, "reason": reason}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"metrics": metrics, "status": FINISHED}


def _finished_before(progress: Path, search: str) -> list[Trial]:
    """Trials of the same search that finished before it was broken off."""
    if not progress.exists():
        return []
    try:
        record = read_json(progress)
        if record["search"] != search:
            return []
        return [trial for trial in record["trials"] if trial["status"] == FINISHED]
    except (UserError, KeyError, TypeError):
        return []
