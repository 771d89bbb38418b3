"""Random search on one machine: the trials of the Katib Experiment, one after another."""

import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, sha256_of_file, write_json
from components.training.tuning.experiment import SearchSpace, Value, read_search_space
from components.training.tuning.trials import (
    FAILED,
    FINISHED,
    VALIDATION_SCORES,
    Trial,
    in_words,
    log_to_mlflow,
)

logger = logging.getLogger(__name__)

_EXPERIMENT = Path(__file__).resolve().parents[3] / "manifests/base/katib/experiment.yaml"


def random_search(
    training_set: str | Path,
    base_model: str,
    base_options: Mapping[str, Any],
    experiment: str | Path,
    trials: int,
    work_folder: str | Path,
    *,
    seed: int = 42,
) -> list[Trial]:
    """Try training options drawn from the search space.

    A trial that fails is recorded and the search goes on. A search that was broken off goes on
    where it stopped: trials that finished are not run again. Models of trials are not kept;
    training runs again with the best options.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        base_options: Training options; a trial's draws replace those of the same name.
        experiment: Katib Experiment manifest.
        trials: How many to run.
        work_folder: Folder that outlives a broken run.
        seed: Of the draws, where the manifest has no `random_state`.

    Returns:
        The trials, in the order in which they ran.

    Raises:
        UserError: If the manifest or an option is wrong.
    """
    from components.training.options import TrainingOptions

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
        log_to_mlflow(trial, base_model)
    return table


def experiment_file() -> Path:
    """The one description of the search: the manifest of the checkout, or `KATIB_EXPERIMENT`."""
    return Path(os.environ.get("KATIB_EXPERIMENT") or _EXPERIMENT)


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
        trial.update(status=FINISHED, metrics=metrics)
    except Exception as error:
        logger.warning("trial %d failed: %s", number, error)
        trial.update(status=FAILED, reason=f"{type(error).__name__}: {error}")
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
        return [trial for trial in record["trials"] if trial["status"] == FINISHED]
    except (UserError, KeyError, TypeError):
        return []
