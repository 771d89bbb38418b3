"""Tuning as a pipeline's step: by Katib on a cluster, by the same search in process elsewhere."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file, write_json
from components.training.resumable import place_for
from components.training.tuning.experiment import read_search_space
from components.training.tuning.random_search import experiment_file, random_search
from components.training.tuning.trials import Trial, best_of, write_trials_table

TUNING_BACKEND = "TUNING_BACKEND"
"""Environment variable: `katib` sends the search to Katib; set on a cluster only."""


def tune(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    trials: int,
    trials_log: str | Path,
    trials_table: str | Path,
    *,
    nodes: int = 1,
    gpus_per_node: int = 1,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Search; the same call after a kill goes on where the search is.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        hyperparameters: Training options by name; the search replaces those that it draws.
        trials: How many to run.
        trials_log: JSON file to write the trials to.
        trials_table: HTML file to write the trials to.
        nodes: Pods that train together in a trial of Katib's.
        gpus_per_node: Of each; 0 trains on the CPU.

    Returns:
        All training options of the best trial, and its scores on validation.

    Raises:
        UserError: If the manifest of the search, an option or the scale is wrong, the cluster
            refuses, or all trials fail.
    """
    from components.training.options import TrainingOptions

    backend = os.environ.get(TUNING_BACKEND, "")
    if backend not in ("", "katib"):
        raise UserError(f"{TUNING_BACKEND} is {backend!r}; set it to katib, or leave it unset")
    if trials < 1:
        raise UserError(f"a search of {trials} trials finds nothing; ask for at least 1")
    experiment = experiment_file()
    space = read_search_space(experiment)
    options = TrainingOptions.from_dict(dict(hyperparameters)).to_dict()
    if backend == "katib":
        from components.training.tuning.katib_search import katib_search

        table = katib_search(
            training_set,
            base_model,
            options,
            experiment,
            trials,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
        )
    else:
        table = _search_here(training_set, base_model, options, experiment, trials)
    write_json(trials_log, table)
    write_trials_table(table, experiment, trials_table)
    return best_of(table, space, options)


def _search_here(
    training_set: str | Path,
    base_model: str,
    options: dict[str, Any],
    experiment: Path,
    trials: int,
) -> list[Trial]:
    """Search in this process; the same call after a kill keeps the trials that finished."""
    with tempfile.TemporaryDirectory() as scratch:
        work = place_for("tune", sha256_of_file(training_set), base_model, options) or Path(scratch)
        table = random_search(
            training_set, base_model, options, experiment, trials, work, seed=options["seed"]
        )
        shutil.rmtree(work, ignore_errors=True)
    return table
