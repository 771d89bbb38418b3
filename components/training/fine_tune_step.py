"""Fine-tuning as a pipeline's step: in the step's own process, or on several nodes or GPUs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.files import read_parquet, sha256_of_file
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from components.training.on_nodes.train_job import is_one_process
from components.training.resumable import place_for

if TYPE_CHECKING:
    from components.training.fine_tune import TrainingResult


def fine_tune_at_scale(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    model_folder: str | Path,
    facts: Mapping[str, str],
    max_tokens: int = 0,
    *,
    nodes: int = 1,
    gpus_per_node: int = 1,
) -> "TrainingResult":
    """Fine-tune where the scale asks for it: one process is this one, several are a TrainJob's.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        hyperparameters: Training options by name.
        model_folder: Folder to write.
        facts: Lineage for the model folder.
        max_tokens: Where the features were cut, so that the predictor cuts there too; 0 takes
            the longest row of the training set, whatever its split.
        nodes: Pods that train together.
        gpus_per_node: Of each; 0 trains on the CPU.

    Returns:
        What fine-tuning found.

    Raises:
        UserError: If an option, the training set, the base model or the scale is wrong, or the
            cluster refuses.
    """
    max_tokens = max_tokens or longest_row(training_set)
    given = (training_set, base_model, hyperparameters, model_folder, facts, max_tokens)
    if is_one_process(nodes, gpus_per_node):
        return fine_tune_resumably(*given)
    from components.training.on_nodes.launch import fine_tune_on_nodes

    return fine_tune_on_nodes(*given, nodes=nodes, gpus_per_node=gpus_per_node)


def fine_tune_resumably(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    model_folder: str | Path,
    facts: Mapping[str, str],
    max_tokens: int,
) -> "TrainingResult":
    """Fine-tune here; the same call after a kill resumes, and a finished one leaves no checkpoints.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from.
        hyperparameters: Training options by name.
        model_folder: Folder to write.
        facts: Lineage for the model folder.
        max_tokens: Where the features were cut.

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
        {**facts, "max_tokens": max_tokens},
    )
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def longest_row(training_set: str | Path) -> int:
    """Tokens of the longest row, in all splits.

    Raises:
        UserError: If the training set is missing or none.
    """
    import pyarrow.compute as pc

    lengths = read_parquet(training_set, TRAINING_SET_SCHEMA, columns=["n_tokens"])["n_tokens"]
    return int(pc.max(lengths).as_py() or 0)
