"""Fine-tuning as a pipeline's step: a killed step that starts again goes on from its checkpoint."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.contracts.files import read_json, read_parquet, sha256_of_file
from components.contracts.reviews import TRAINING_SET_SCHEMA

if TYPE_CHECKING:
    from components.training.fine_tune import TrainingResult

CHECKPOINT_DIR = "CHECKPOINT_DIR"
"""Environment variable that names the folder for what must outlive a killed step."""


def place_for(*facts: Any) -> Path | None:
    """A folder below `CHECKPOINT_DIR` that belongs to these facts alone.

    Args:
        facts: JSON-ready values; all that decides what is computed.

    Returns:
        The folder, which need not exist; None where `CHECKPOINT_DIR` is not set.
    """
    root = os.environ.get(CHECKPOINT_DIR)
    if not root:
        return None
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    return Path(root) / name


def fine_tune_resumably(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    model_folder: str | Path,
    facts: Mapping[str, str],
    max_tokens: int = 0,
) -> "TrainingResult":
    """Fine-tune; the same call after a kill resumes, and a finished one leaves no checkpoints.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        hyperparameters: Training options by name.
        model_folder: Folder to write.
        facts: Lineage for the model folder.
        max_tokens: Where the features were cut, so that the predictor cuts there too; 0 takes
            the longest row of the training set, whatever its split.

    Returns:
        What fine-tuning found.

    Raises:
        UserError: If an option, the training set or the base model is wrong.
    """
    from components.training.fine_tune import fine_tune
    from components.training.options import TrainingOptions

    options = TrainingOptions.from_dict(dict(hyperparameters))
    checkpoints = place_for(
        "fine-tune",
        facts.get("data_fingerprint", ""),
        sha256_of_file(training_set),
        base_model,
        options.to_dict(),
    )
    result = fine_tune(
        training_set,
        base_model,
        options,
        model_folder,
        checkpoints,
        {**facts, "max_tokens": max_tokens or _longest_row(training_set)},
    )
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def _longest_row(training_set: str | Path) -> int:
    """Tokens of the longest row, in all splits."""
    import pyarrow.compute as pc

    lengths = read_parquet(training_set, TRAINING_SET_SCHEMA, columns=["n_tokens"])["n_tokens"]
    return int(pc.max(lengths).as_py() or 0)


def tune_resumably(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    trials: int,
    trials_log: str | Path,
    trials_table: str | Path,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Search; the same call after a kill keeps the trials that finished.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        hyperparameters: Training options by name.
        trials: How many to run.
        trials_log: JSON file to write the trials to.
        trials_table: HTML file to write the trials to.

    Returns:
        All training options of the best trial, and its scores on validation.

    Raises:
        UserError: As in `random_search`.
    """
    from components.training.search_space import read_search_space
    from components.training.tuning import (
        best_trial,
        experiment_file,
        random_search,
        write_trials_table,
    )

    experiment = experiment_file()
    facts = ("tune", sha256_of_file(training_set), base_model, dict(hyperparameters))
    with tempfile.TemporaryDirectory() as scratch:
        work = place_for(*facts) or Path(scratch)
        seed = int(hyperparameters.get("seed", 42))
        best = random_search(
            training_set,
            base_model,
            hyperparameters,
            experiment,
            trials,
            trials_log,
            work,
            seed=seed,
        )
        shutil.rmtree(work, ignore_errors=True)
    table = read_json(trials_log)
    write_trials_table(table, experiment, trials_table)
    winner = best_trial(table, read_search_space(experiment))
    return best, dict(winner["metrics"]) if winner else {}
