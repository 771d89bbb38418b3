"""Fine-tuning from a training set to a model folder, in this process or in a TrainJob."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch

from components.shared.machine.base_model import resolve_base_model
from components.shared.machine.files import read_parquet, sha256_of_file, surviving_folder
from components.shared.machine.tracked_run import TrackedRun, Training, training_run
from components.shared.records.model_card import dataset_name
from components.shared.records.model_folder import read_training_facts
from components.shared.records.network_folder import write_model_folder
from components.shared.records.reviews import TRAINING_SET_SCHEMA, splits_digest
from components.training.loop.data import read_training_set
from components.training.loop.run import Metrics, TrainingRun
from components.training.on_nodes import launch
from components.training.options import TrainingOptions, is_one_process

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        model_folder: Where the model lies.
        macro_f1: Validation macro-F1 of the calibrated decisions of the weights that were kept.
        accuracy: Validation accuracy of the same decisions.
        validation_loss: Mean negative log-likelihood of the calibrated probabilities, nats.
        step: Optimiser steps after which those weights stood.
        history: Every evaluation: step, epoch, train_loss, validation_loss, accuracy, macro_f1,
            samples_per_second.
        speed: See `SpeedMeter.summary`.
        resumed_at: Step at which the run went on from a checkpoint; 0 if it began anew.
        run_id: Id of the run in MLflow; '' without one.
    """

    model_folder: Path
    macro_f1: float
    accuracy: float
    validation_loss: float
    step: int
    history: list[Metrics]
    speed: dict[str, Any]
    resumed_at: int
    run_id: str = ""

    @classmethod
    def of(cls, model_folder: str | Path, training: Mapping[str, Any]) -> Self:
        """The result of the run that wrote a model folder, from the content of `training.json`."""
        best = training["best"]
        return cls(
            Path(model_folder),
            macro_f1=best["macro_f1"],
            accuracy=best["accuracy"],
            validation_loss=best["validation_loss"],
            step=int(best["step"]),
            history=training["history"],
            speed=training["speed"],
            resumed_at=training["resumed_at"],
        )


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
) -> TrainingResult:
    """Fine-tune where the scale asks for it: in this process, or in a TrainJob.

    The same call after a kill goes on from the checkpoints; a finished one leaves none. Arguments
    are those of `fine_tune`, with the hyperparameters by name. The predictor cuts at `max_tokens`,
    where the features were cut; 0 takes the longest row of the training set, whatever its split.

    Raises:
        UserError: If an option, the training set, the base model or the scale is wrong, or the
            cluster refuses.
    """
    options = TrainingOptions.from_dict(hyperparameters)
    lineage = {**facts, "max_tokens": max_tokens or longest_row(training_set)}
    one_process = is_one_process(nodes, gpus_per_node)
    if not one_process:
        read_training_set(training_set)  # what is wrong with it is said before any GPU is asked for
    what = (training_set, base_model, options)
    with training_run(_described(*what, lineage)) as run:
        if one_process:
            result = _fine_tune_here(*what, model_folder, lineage, run)
        else:
            launch.fine_tune_on_nodes(
                training_set,
                base_model,
                options.to_dict(),
                model_folder,
                lineage,
                nodes=nodes,
                gpus_per_node=gpus_per_node,
            )
            result = TrainingResult.of(model_folder, read_training_facts(model_folder))
            for entry in result.history if run.id else ():
                run.evaluated(entry)
    return replace(result, run_id=run.id) if run.id else result


def _fine_tune_here(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    model_folder: str | Path,
    facts: dict[str, Any],
    run: TrackedRun,
) -> TrainingResult:
    """Fine-tune in this process, from the checkpoint of one that was killed."""
    checkpoints = surviving_folder(*_identity(training_set, base_model, options, facts))
    result = fine_tune(
        *(training_set, base_model, options, model_folder, checkpoints, facts),
        on_metrics=run.evaluated,
    )
    if checkpoints is not None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    return result


def _identity(
    training_set: str | Path, base_model: str, options: TrainingOptions, facts: Mapping[str, Any]
) -> tuple[Any, ...]:
    """What makes a training the same one: by this it finds its checkpoints and its run again."""
    return (
        "fine-tune",
        facts.get("data_fingerprint", ""),
        sha256_of_file(training_set),
        base_model,
        options.under_former_names(),
    )


def _described(
    training_set: str | Path, base_model: str, options: TrainingOptions, facts: Mapping[str, Any]
) -> Training:
    """The training as its run in MLflow describes it."""
    identity = json.dumps(_identity(training_set, base_model, options, facts), sort_keys=True)
    digest = str(facts.get("data_fingerprint", ""))
    rows = read_parquet(training_set, TRAINING_SET_SCHEMA, columns=["n_tokens"]).num_rows
    return Training(
        experiment=str(facts.get("model_name") or "review-sentiment"),
        key=hashlib.sha256(identity.encode()).hexdigest()[:24],
        parameters={"base_model": base_model, "max_tokens": facts["max_tokens"]}
        | options.to_dict(),
        facts=facts,
        dataset=(dataset_name(digest), digest or sha256_of_file(training_set), rows),
    )


def longest_row(training_set: str | Path) -> int:
    """Tokens of the longest row of a training set, in all splits."""
    import pyarrow.compute as pc

    lengths = read_parquet(training_set, TRAINING_SET_SCHEMA, columns=["n_tokens"])["n_tokens"]
    return int(pc.max(lengths).as_py() or 0)


def fine_tune(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    model_folder: str | Path,
    checkpoint_folder: str | Path | None = None,
    facts: dict[str, Any] | None = None,
    on_metrics: Callable[[Metrics], None] = lambda _: None,
) -> TrainingResult:
    """Fine-tune a classifier and write its model folder.

    Weights with the best macro-F1 on the validation split are kept. With a checkpoint folder, a
    run that was killed goes on from its last checkpoint and ends with the same weights as if it
    had not been. After SIGTERM a checkpoint is written and the process ends.

    Started by `torchrun`, the processes share each batch out and end with the weights of one
    process but for rounding; the first one alone writes, reads checkpoints and calls back. Their
    last checkpoint stays: when one of them fails after the first has ended, all are started again,
    and have only to write the model folder.

    Args:
        training_set: Parquet file of `TRAINING_SET_SCHEMA`; its test split is not looked at.
        base_model: `minilm`, a folder or a hub id.
        options: How to train.
        model_folder: Replaced in one rename when all is done.
        checkpoint_folder: Where the run keeps its checkpoint; None keeps none. A checkpoint of
            other data, options or base model is not used.
        facts: For `training.json`: data_fingerprint, feature_service, code_version, max_tokens...
        on_metrics: Called after each evaluation with its entry of the history, and in the end with
            the scores of the model folder.

    Returns:
        How it ended, on every rank.

    Raises:
        UserError: If the data, the base model or the options cannot be trained with, the loss
            is no longer finite, or the ranks were not started with the same of them.
        ConnectionError: If another rank is gone.
        SystemExit: After SIGTERM during training.
    """
    training, validation = read_training_set(training_set)
    deciding = _deciding_facts(training_set, base_model, options)
    key = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
    same = {name: str(v) for name, v in options.to_dict().items() if name != "checkpoint_minutes"}
    same |= {name: deciding[name] for name in ("training_set", "base_model", "torch")}
    with TrainingRun.joined(training, validation, base_model, options, same) as run:
        ranks = run.ranks
        if ranks.first and options.batch_size < ranks.count:
            logger.warning(
                "a batch_size of %d leaves some of the %d processes without work",
                *(options.batch_size, ranks.count),
            )
        resumed_at = run.resume(checkpoint_folder, key)
        run.train(on_metrics)
        if ranks.count > 1:
            run.save()
    of_run = {
        "splits": splits_digest(training_set),
        "test_split": splits_digest(training_set, "test"),
        "resumed_at": resumed_at,
    }
    result = _export(run, base_model, Path(model_folder), facts or {}, of_run)
    if ranks.count == 1:
        run.remove_checkpoint()
    if ranks.first:
        scores = ("macro_f1", "accuracy", "validation_loss")
        on_metrics({name: getattr(result, name) for name in scores})
        logger.info(
            "the model in %s has validation macro-F1 %.4f; trained at %.1f reviews/s",
            *(model_folder, result.macro_f1, result.speed["samples_per_second"]),
        )
    return result


def _export(
    run: TrainingRun,
    base_model: str,
    model_folder: Path,
    facts: dict[str, Any],
    of_run: dict[str, Any],
) -> TrainingResult:
    """Calibrate the best weights on the validation split; the first rank writes the model folder.

    The others compute the same meanwhile, which costs nothing: they would only wait.
    """
    classifier, calibration, scores = run.best_model()
    longest = int(max(run.training.lengths.max(), run.validation.lengths.max()))
    content = {
        "base_model": base_model,
        "options": run.options.to_dict(),
        "facts": facts,
        "max_tokens": int(facts.get("max_tokens") or longest),
        "class_prior": (run.class_counts / run.class_counts.sum()).tolist(),
        "rows": {"train": int(run.training.copies.sum()), "validation": len(run.validation)},
        "weak_share": run.training.weak_share,
        **({"weights": weighted} if (weighted := run.training.weighted) else {}),
        "precision": run.learner.precision,
        "best": {**run.best, **scores},
        "history": run.history,
        "speed": run.meter.summary(),
        "machine": run.ranks.machine,
        **of_run,
    }
    if run.ranks.first:
        write_model_folder(model_folder, classifier, base_model, calibration, content)
    return TrainingResult.of(model_folder, content)


def _deciding_facts(
    training_set: str | Path, base_model: str, options: TrainingOptions
) -> dict[str, Any]:
    """What decides the weights: data, base model, options, library version."""
    source = resolve_base_model(base_model)
    weights = Path(source) / "model.safetensors"
    deciding = options.under_former_names()
    del deciding["checkpoint_minutes"]
    return {
        "training_set": sha256_of_file(training_set),
        "base_model": sha256_of_file(weights) if weights.is_file() else source,
        "options": deciding,
        "torch": torch.__version__,
    }
