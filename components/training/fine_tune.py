"""Fine-tuning from a training set to a model folder: the loop and what it keeps."""

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from components.contracts.base_model import resolve_base_model
from components.contracts.decision import Calibration, fit_temperature
from components.contracts.errors import UserError
from components.contracts.files import sha256_of_file
from components.training.batching import epoch_batches, padded
from components.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from components.training.model_export import write_model_folder
from components.training.network import build_network, load_classifier
from components.training.objective import class_weights, total_loss
from components.training.optimiser import build_optimiser, set_learning_rate
from components.training.options import TrainingOptions
from components.training.progress import TrainingProgress
from components.training.speed import SpeedMeter, TrainingWork, matmul_rate
from components.training.training_data import TokenisedReviews, read_training_set
from components.training.validation import (
    network_logits,
    score,
    score_as_decided,
    tune_decision_offsets,
)
from components.training.weight_average import WeightAverage
from components.training.working_copy import WorkingCopy, fast_precision

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Metrics = dict[str, float]


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
    had not been.

    Args:
        training_set: Parquet file of `TRAINING_SET_SCHEMA`; its test split is not looked at.
        base_model: `minilm`, a folder or a hub id.
        options: How to train.
        model_folder: Replaced in one rename when all is done.
        checkpoint_folder: Where the run keeps its checkpoint; None keeps none. A checkpoint of
            other data, options or base model is not used.
        facts: For `training.json`: data_fingerprint, feature_service, code_version, max_tokens...
        on_metrics: Called after each evaluation with its entry of the history.

    Raises:
        UserError: If the data, the base model or the options cannot be trained with, or the loss
            stops being a number.
    """
    training, validation = read_training_set(training_set)
    run = _Run(training, validation, base_model, options)
    key = _run_key(training_set, base_model, options)
    resumed_at = 0
    if checkpoint_folder is not None and (found := load_checkpoint(checkpoint_folder, key)):
        run.restore(*found)
        resumed_at = run.step
        logger.info("going on from step %d of %d", run.step, run.steps)
    matmul_before = matmul_rate(run.precision, run.device)

    def checkpoint() -> None:
        if checkpoint_folder is not None:
            save_checkpoint(checkpoint_folder, key, *run.state())

    run.train(checkpoint, on_metrics or (lambda _: None))
    speed = run.meter.summary((matmul_before + matmul_rate(run.precision, run.device)) / 2)
    result = _export(run, base_model, options, Path(model_folder), facts or {}, speed, resumed_at)
    if checkpoint_folder is not None:
        remove_checkpoint(checkpoint_folder)
    return result


class _Run:
    """The state of one training run and the loop that moves it."""

    def __init__(
        self,
        training: TokenisedReviews,
        validation: TokenisedReviews,
        base_model: str,
        options: TrainingOptions,
    ) -> None:
        import torch

        self.options = options
        self.training = training
        self.validation = validation
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.precision = (
            fast_precision(self.device) if options.precision == "auto" else options.precision
        )
        classifier = load_classifier(base_model, options.seed)
        _check_fit(classifier, training, validation)
        self.pad_id = int(classifier.config.pad_token_id or 0)
        self.network = build_network(classifier, options)
        self.working = WorkingCopy(self.network, self.precision, self.device)
        self.optimiser = build_optimiser(self.network, options)
        self.average = WeightAverage(self.working.masters, options.average_decay)
        self.best_weights = [weight.clone() for weight in self.average.weights]
        self.best: Metrics = {}
        self.stale = 0
        self.step = 0
        self.loss_sum = 0.0
        self.loss_steps = 0
        self.history: list[Metrics] = []
        self.class_counts = training.class_counts()
        self.weights = torch.from_numpy(class_weights(self.class_counts, options.class_weights)).to(
            self.device
        )
        self.meter = SpeedMeter(
            TrainingWork(self.network.classifier, self.working.first_token_only)
        )
        self.steps_per_epoch = len(self._batches(epoch=0))
        self.steps = self.steps_per_epoch * options.epochs
        self.evaluation_steps = {
            math.ceil(self.steps_per_epoch * number / options.evaluations_per_epoch)
            for number in range(1, options.epochs * options.evaluations_per_epoch + 1)
        }

    def train(self, checkpoint: Callable[[], None], on_metrics: Callable[[Metrics], None]) -> None:
        """Step until the end or until validation has stopped improving."""
        self.network.train()
        self.working.network.train()
        self.working.refresh()
        saved = time.monotonic()
        epoch, batches = -1, []
        with TrainingProgress(self.steps, self.step) as progress:
            while self.step < self.steps and not self._out_of_patience():
                if self.step // self.steps_per_epoch != epoch:
                    epoch = self.step // self.steps_per_epoch
                    batches = self._batches(epoch)
                loss = self._train_step(batches[self.step % self.steps_per_epoch])
                self.step += 1
                progress.step(loss, self.meter.samples_per_second)
                evaluated = self.step in self.evaluation_steps
                if evaluated:
                    self._evaluate()
                    progress.evaluation(self.history[-1])
                if time.monotonic() - saved >= 60 * self.options.checkpoint_minutes:
                    checkpoint()
                    saved = time.monotonic()
                if evaluated:
                    on_metrics(dict(self.history[-1]))

    def state(self) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
        """Everything that the rest of the run depends on: tensors and numbers."""
        tensors = {}
        for index, weight in enumerate(self.working.masters):
            moments = self.optimiser.state.get(weight, {})
            tensors[f"weight.{index}"] = weight
            tensors[f"average.{index}"] = self.average.weights[index]
            tensors[f"best.{index}"] = self.best_weights[index]
            for name, value in moments.items():
                tensors[f"optimiser.{name}.{index}"] = value
        return tensors, {
            "step": self.step,
            "best": self.best,
            "stale": self.stale,
            "loss_sum": self.loss_sum,
            "loss_steps": self.loss_steps,
            "history": self.history,
            "speed": self.meter.totals,
        }

    def restore(self, tensors: "dict[str, torch.Tensor]", progress: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        import torch

        with torch.no_grad():
            for index, weight in enumerate(self.working.masters):
                weight.copy_(tensors[f"weight.{index}"])
                self.average.weights[index].copy_(tensors[f"average.{index}"])
                self.best_weights[index].copy_(tensors[f"best.{index}"])
                # Fused AdamW keeps its step count beside the moments, on the weight's device.
                self.optimiser.state[weight] = {
                    name: tensors[f"optimiser.{name}.{index}"].to(self.device)
                    for name in ("step", "exp_avg", "exp_avg_sq")
                }
        self.step = progress["step"]
        self.best = progress["best"]
        self.stale = progress["stale"]
        self.loss_sum = progress["loss_sum"]
        self.loss_steps = progress["loss_steps"]
        self.history = progress["history"]
        self.meter.totals = dict(progress["speed"])

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """The batches of an epoch."""
        return epoch_batches(
            self.training.lengths,
            self.training.copies,
            self.options.batch_size,
            self.options.seed,
            epoch,
        )

    def _train_step(self, rows: NDArray[np.int64]) -> float:
        """One optimiser step on some rows; the mean loss since the last evaluation.

        What is random depends on the seed and the step alone, so a run that goes on from a
        checkpoint draws the same numbers.
        """
        import torch

        begun = time.perf_counter()
        options = self.options
        torch.manual_seed(options.seed * 1_000_003 + self.step)
        generator = np.random.default_rng([options.seed, self.step, 1])
        tokens, mask = padded(self.training, rows, self.pad_id, options.token_dropout, generator)
        outputs = self.working.network(
            torch.from_numpy(tokens).to(self.device),
            None if mask.all() else torch.from_numpy(mask).to(self.device),
        )
        loss = total_loss(
            outputs,
            torch.from_numpy(self.training.classes[rows]).to(self.device),
            torch.from_numpy(self.training.ratings[rows]).to(self.device),
            self.weights,
            options,
        )
        loss.backward()
        self.working.collect_gradients()
        torch.nn.utils.clip_grad_norm_(self.working.masters, options.max_grad_norm)
        set_learning_rate(self.optimiser, self.step, self.steps, options.warmup_fraction)
        self.optimiser.step()
        self.working.refresh()
        self.average.update(self.working.masters, self.step)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UserError(
                f"the training loss is {value} at step {self.step + 1}: training has diverged; "
                "lower learning_rate or max_grad_norm"
            )
        self.loss_sum += value
        self.loss_steps += 1
        self.meter.add(mask.sum(axis=1), time.perf_counter() - begun)
        return self.loss_sum / self.loss_steps

    def _evaluate(self) -> None:
        """Look at the validation split with the averaged weights, and keep them if they lead."""
        self.working.load(self.average.weights)
        logits = network_logits(self.working.network, self.validation, self.pad_id, self.device)
        self.working.refresh()
        found = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "train_loss": self.loss_sum / max(1, self.loss_steps),
            **score(logits, self.validation.classes),
            "samples_per_second": round(self.meter.samples_per_second, 2),
        }
        self.loss_sum, self.loss_steps = 0.0, 0
        self.history.append(found)
        if not self.best or _rank(found) > _rank(self.best):
            self.best = found
            self.stale = 0
            self.best_weights = [weight.clone() for weight in self.average.weights]
        else:
            self.stale += 1

    def _out_of_patience(self) -> bool:
        """Whether the last evaluations brought nothing better."""
        return 0 < self.options.patience <= self.stale


def _rank(found: Metrics) -> tuple[float, float]:
    """Macro-F1 first; where it is equal, as early on with rare classes, the lower loss."""
    return found["macro_f1"], -found["validation_loss"]


def _export(
    run: _Run,
    base_model: str,
    options: TrainingOptions,
    model_folder: Path,
    facts: dict[str, Any],
    speed: dict[str, Any],
    resumed_at: int,
) -> TrainingResult:
    """Calibrate the best weights on the validation split and write the model folder."""
    import torch

    from components.contracts.inference import predict_logits

    with torch.no_grad():
        torch._foreach_copy_(run.working.masters, run.best_weights)
    classifier = run.network.classifier.eval()
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


def _run_key(training_set: str | Path, base_model: str, options: TrainingOptions) -> str:
    """Names what decides the weights: data, base model, options, library version."""
    import torch

    source = resolve_base_model(base_model)
    weights = Path(source) / "model.safetensors"
    named = {
        "training_set": sha256_of_file(training_set),
        "base_model": sha256_of_file(weights) if weights.is_file() else source,
        "options": {k: v for k, v in options.to_dict().items() if k != "checkpoint_minutes"},
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _check_fit(classifier: Any, *splits: TokenisedReviews) -> None:
    """Raise `UserError` if the model cannot read the tokens."""
    config = classifier.config
    for reviews in splits:
        if reviews.tokens.max() >= config.vocab_size:
            raise UserError(
                f"the training set has token id {reviews.tokens.max()}, beyond the base model's "
                f"vocabulary of {config.vocab_size}; build the features with the same base model"
            )
        limit = getattr(config, "max_position_embeddings", None)
        if limit and "roberta" in config.model_type:
            limit -= config.pad_token_id + 1  # RoBERTa counts positions from there
        if limit and reviews.lengths.max() > limit:
            raise UserError(
                f"the training set has a review of {reviews.lengths.max()} tokens and the base "
                f"model reads {limit}; build the features with a smaller max_tokens"
            )
