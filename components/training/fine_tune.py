"""Fine-tuning from a training set to a model folder: the loop and what it keeps."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.machine.base_model import resolve_base_model
from components.shared.machine.files import sha256_of_file
from components.shared.records.decision import Calibration, fit_temperature
from components.training.export import write_model_folder
from components.training.loop.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from components.training.loop.data import read_training_set
from components.training.loop.distributed import joined_ranks
from components.training.loop.run import Metrics, TrainingRun
from components.training.loop.run_state import restore, state_of
from components.training.loop.speed import matmul_rate
from components.training.loop.validation import score, score_as_decided, tune_decision_offsets
from components.training.options import TrainingOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        model_folder: Where the model lies.
        macro_f1: Of the weights kept, on validation, by the calibrated decisions.
        accuracy: Likewise.
        validation_loss: Mean negative log-likelihood of the calibrated probabilities, nats.
        step: Optimiser steps after which those weights stood.
        history: Every evaluation: step, epoch, train_loss, validation_loss, accuracy, macro_f1,
            samples_per_second.
        speed: See `SpeedMeter.summary`.
        resumed_at: Step at which the run went on from a checkpoint; 0 if it began anew.
    """

    model_folder: Path
    macro_f1: float
    accuracy: float
    validation_loss: float
    step: int
    history: list[Metrics]
    speed: dict[str, Any]
    resumed_at: int


def fine_tune(
    training_set: str | Path,
    base_model: str,
    options: TrainingOptions,
    model_folder: str | Path,
    checkpoint_folder: str | Path | None = None,
    facts: dict[str, Any] | None = None,
    on_metrics: Callable[[Metrics], None] | None = None,
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
        on_metrics: Called after each evaluation with its entry of the history.

    Returns:
        How it ended, on every rank.

    Raises:
        UserError: If the data, the base model or the options cannot be trained with, the loss
            stops being a number, or the ranks were not started with the same of them.
        ConnectionError: If another rank is gone.
        SystemExit: After SIGTERM during training.
    """
    training, validation = read_training_set(training_set)
    deciding = _deciding_facts(training_set, base_model, options)
    key = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()
    with joined_ranks() as ranks:
        ranks.check_same(
            {
                **{name: str(value) for name, value in deciding["options"].items()},
                **{name: deciding[name] for name in ("training_set", "base_model", "torch")},
            }
        )
        run = TrainingRun(training, validation, base_model, options, ranks)
        if ranks.first and options.batch_size < ranks.count:
            logger.warning(
                "a batch_size of %d leaves some of the %d processes without work",
                *(options.batch_size, ranks.count),
            )
        resumed_at = _resume(run, checkpoint_folder, key)
        matmul_before = matmul_rate(run.precision, run.device)

        def checkpoint() -> None:
            if checkpoint_folder is not None:
                save_checkpoint(checkpoint_folder, key, *state_of(run))

        run.train(checkpoint, on_metrics or (lambda _: None))
        alone = ranks.count == 1
        if ranks.first and not alone:
            checkpoint()
        matmul_mean = (matmul_before + matmul_rate(run.precision, run.device)) / 2
        speed = run.meter.summary(ranks.total(matmul_mean))
    result = _export(run, base_model, options, Path(model_folder), facts or {}, speed, resumed_at)
    if alone and checkpoint_folder is not None:
        remove_checkpoint(checkpoint_folder)
    return result


def _resume(run: TrainingRun, checkpoint_folder: str | Path | None, key: str) -> int:
    """Go on from the checkpoint that the first rank finds; the step where it stood, or 0."""
    found = None
    if run.ranks.first and checkpoint_folder is not None:
        found = load_checkpoint(checkpoint_folder, key)
    if (shared := run.ranks.checkpoint_from_first(found)) is None:
        return 0
    restore(run, *shared)
    if run.ranks.first:
        logger.info("going on from step %d of %d", run.step, run.steps)
    return run.step


def _export(
    run: TrainingRun,
    base_model: str,
    options: TrainingOptions,
    model_folder: Path,
    facts: dict[str, Any],
    speed: dict[str, Any],
    resumed_at: int,
) -> TrainingResult:
    """Calibrate the best weights on the validation split; the first rank writes the model folder.

    The others compute the same meanwhile, which costs nothing: they would only wait.
    """
    from components.shared.machine.inference import predict_logits

    classifier = run.keep_best()
    validation = run.validation
    # In fp32 and by the plain forward pass, as evaluation and serving will compute.
    logits = predict_logits(classifier, [validation.row(index) for index in range(len(validation))])
    temperature = fit_temperature(logits, validation.classes)
    offsets = (0.0, 0.0, 0.0)
    if options.tune_decisions:
        offsets = tune_decision_offsets(logits, validation.classes, temperature)
    calibration = Calibration(temperature, offsets)
    decided = score_as_decided(logits, validation.classes, calibration)
    loss = score(logits / temperature, validation.classes)["validation_loss"]
    best = {**run.best, **decided, "validation_loss": loss}
    longest = int(max(run.training.lengths.max(), validation.lengths.max()))
    if run.ranks.first:
        write_model_folder(
            model_folder,
            classifier,
            base_model,
            calibration,
            {
                "base_model": base_model,
                "options": options.to_dict(),
                "facts": facts,
                "max_tokens": int(facts.get("max_tokens") or longest),
                "class_prior": (run.class_counts / run.class_counts.sum()).tolist(),
                "rows": {
                    "train": int(run.training.copies.sum()),
                    "validation": len(validation),
                },
                "precision": run.precision,
                "best": best,
                "history": run.history,
                "speed": speed,
                "resumed_at": resumed_at,
            },
        )
    return TrainingResult(
        model_folder=model_folder,
        macro_f1=best["macro_f1"],
        accuracy=best["accuracy"],
        validation_loss=loss,
        step=int(best["step"]),
        history=run.history,
        speed=speed,
        resumed_at=resumed_at,
    )


def _deciding_facts(
    training_set: str | Path, base_model: str, options: TrainingOptions
) -> dict[str, Any]:
    """What decides the weights: data, base model, options, library version."""
    import torch

    source = resolve_base_model(base_model)
    weights = Path(source) / "model.safetensors"
    return {
        "training_set": sha256_of_file(training_set),
        "base_model": sha256_of_file(weights) if weights.is_file() else source,
        "options": {k: v for k, v in options.to_dict().items() if k != "checkpoint_minutes"},
        "torch": torch.__version__,
    }
