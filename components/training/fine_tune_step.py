"""Fine-tuning as a pipeline's step: in the step's own process, or on several nodes or GPUs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.machine.files import read_parquet, sha256_of_file
from components.shared.machine.resumable import place_for
from components.shared.records.model_folder import read_training_facts
from components.shared.records.reviews import TRAINING_SET_SCHEMA
from components.training.on_nodes.train_job import is_one_process
from components.training.options import TrainingOptions

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
    """Fine-tune where the scale asks for it: in this process, or in a TrainJob.

    The same call after a kill goes on from the checkpoints; a finished one leaves none.

    Args:
        training_set: Training set Parquet.
        base_model: `minilm`, a folder, or a hub id.
        hyperparameters: Training options by name.
        model_folder: Folder to write.
        facts: Lineage for the model folder.
        max_tokens: Where the features were cut, so that the predictor cuts there too; 0 takes
            the longest row of the training set, whatever its split.
        nodes: Pods that train together.
        gpus_per_node: GPUs of each; 0 trains on the CPU.

    Raises:
        UserError: If an option, the training set, the base model or the scale is wrong, or the
            cluster refuses.
    """
    from components.training.fine_tune import TrainingResult, fine_tune

    options = TrainingOptions.from_dict(hyperparameters)
    lineage = {**facts, "max_tokens": max_tokens or longest_row(training_set)}
    if not is_one_process(nodes, gpus_per_node):
        from components.training.on_nodes.launch import fine_tune_on_nodes

        fine_tune_on_nodes(
            training_set,
            base_model,
            options.to_dict(),
            model_folder,
            lineage,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
        )
        return TrainingResult.of(model_folder, read_training_facts(model_folder))
    checkpoints = place_for(
        "fine-tune",
        facts.get("data_fingerprint", ""),
        sha256_of_file(training_set),
        base_model,
        options.under_former_names(),
    )
    result = fine_tune(training_set, base_model, options, model_folder, checkpoints, lineage)
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def longest_row(training_set: str | Path) -> int:
    """Tokens of the longest row of a training set, in all splits."""
    import pyarrow.compute as pc

    lengths = read_parquet(training_set, TRAINING_SET_SCHEMA, columns=["n_tokens"])["n_tokens"]
    return int(pc.max(lengths).as_py() or 0)
