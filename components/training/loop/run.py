"""One training run: its state, the order of its rows, evaluation, checkpoints, early stopping."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.shared.machine.inference import predict_logits
from components.shared.machine.signals import on_sigterm
from components.training.loop.checkpoint import Checkpoint
from components.training.loop.data import (
    TokenisedReviews,
    drop_tokens,
    epoch_batches,
    length_batches,
    padded,
)
from components.training.loop.distributed import Ranks, joined_ranks
from components.training.loop.measures import SpeedMeter, TrainingProgress, calibrate, score
from components.training.loop.network import fold_temperature
from components.training.loop.step import Learner, Targets
from components.training.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from components.shared.records.decision import Calibration

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a run that ended on request, as a shell reports SIGTERM. It is not 0, so that
whatever keeps the run alive starts it again."""

_VALIDATION_ROWS = 64
"""Rows per batch of validation."""

Metrics = dict[str, float]
"""An entry of the history: step, epoch, train_loss, validation_loss, accuracy, macro_f1,
samples_per_second."""

logger = logging.getLogger(__name__)


class TrainingRun:
    """The state of one training run and the loop that moves it.

    Attributes:
        learner: The network, and what a step changes of it.
        steps: Optimiser steps of the whole run.
        step: Steps done.
        history: Entries of the evaluations so far.
        best: The entry whose weights are kept.
        meter: Speed so far.
        ranks: The processes that train together.
    """

    def __init__(
        self,
        training: TokenisedReviews,
        validation: TokenisedReviews,
        base_model: str,
        options: TrainingOptions,
        ranks: Ranks | None = None,
    ) -> None:
        """Load the base model and set everything to the start.

        Args:
            training: Rows to learn from.
            validation: Rows to choose the weights by.
            base_model: `minilm`, a folder or a hub id.
            options: How to train.
            ranks: The processes that train together; None trains in this one alone.
        """
        self.options, self.training, self.validation = options, training, validation
        self.ranks = ranks or Ranks()
        self.class_counts = training.class_counts()
        self.learner = Learner(base_model, options, self.class_counts, self.ranks, training.labels)
        for reviews in (training, validation):
            reviews.check_fit(self.learner.network.classifier.config)
        self._widest = int(max(training.lengths.max(), validation.lengths.max()))
        self.step = 0
        self.history: list[Metrics] = []
        self.best: Metrics = {}
        self._best_weights = [weight.clone() for weight in self.learner.average]
        self._evaluations_since_best = 0
        self._loss_sum, self._loss_steps = 0.0, 0
        self.meter = SpeedMeter()
        self._checkpoint: Checkpoint | None = None
        self._asked_to_end = self._ending = False
        self._begun = 0.0
        self.steps_per_epoch = len(self.batches(epoch=0))
        epochs = max(options.epochs, math.ceil(options.min_steps / self.steps_per_epoch))
        self.steps = self.steps_per_epoch * epochs
        self._evaluation_steps = {
            math.ceil(self.steps_per_epoch * number / options.evaluations_per_epoch)
            for number in range(1, epochs * options.evaluations_per_epoch + 1)
        }

    @classmethod
    @contextmanager
    def joined(
        cls,
        training: TokenisedReviews,
        validation: TokenisedReviews,
        base_model: str,
        options: TrainingOptions,
        facts: Mapping[str, str],
    ) -> Iterator[Self]:
        """A run of the processes that torchrun started; `UserError` if facts differ among them."""
        with joined_ranks() as ranks:
            if ranks.count > 1 and options.max_seconds:
                raise UserError("max_seconds is for the training of one process; leave it out here")
            ranks.check_same(facts)
            yield cls(training, validation, base_model, options, ranks)

    def train(self, on_metrics: Callable[[Metrics], None] = lambda _: None) -> None:
        """Step until the end or until validation has stopped improving.

        After SIGTERM to one rank, all end behind the same step, with a checkpoint and the exit code
        `TERMINATED`. `on_metrics` gets each entry of the history, on the first rank.
        """
        saved = self._begun = time.monotonic()
        epoch, batches = -1, []
        progress = TrainingProgress(self.steps, self.step, self.ranks.first)
        with closing(progress), on_sigterm(self._note_sigterm):
            while self.step < self.steps and not (self._stopped_improving() or self._out_of_time()):
                if self.step // self.steps_per_epoch != epoch:
                    epoch = self.step // self.steps_per_epoch
                    batches = self.batches(epoch)
                loss = self.train_step(batches[self.step % self.steps_per_epoch])
                self.step += 1
                progress.step(loss, self.meter.samples_per_second)
                evaluated = self.step in self._evaluation_steps
                if evaluated:
                    self._evaluate()
                    progress.evaluation(self.history[-1])
                due = time.monotonic() - saved >= 60 * self.options.checkpoint_minutes
                if due or self._ending:
                    self.save()
                    saved = time.monotonic()
                if self.ranks.first and evaluated:
                    on_metrics(dict(self.history[-1]))
                if self._ending:
                    # When one has left, torchrun ends the other ranks of its node.
                    self.ranks.wait()
                    if self.ranks.first:
                        logger.info("asked to end after step %d of %d", self.step, self.steps)
                    raise SystemExit(TERMINATED)

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Row numbers of each batch of an epoch, counted from 0."""
        return epoch_batches(
            self.training.lengths,
            self.training.copies,
            self.options.batch_size,
            self.options.seed,
            epoch,
        )

    def train_step(self, rows: NDArray[np.int64]) -> float:
        """Take one optimiser step on a batch of row numbers of the training split.

        Which tokens are left out depends on the seed and the step alone, as dropout does.

        Returns:
            Mean loss of the steps since the last evaluation.

        Raises:
            UserError: If the loss is not finite.
        """
        begun = time.perf_counter()
        sequences = drop_tokens(
            [self.training.row(row) for row in rows],
            self.options.token_dropout,
            np.random.default_rng([self.options.seed, self.step, 1]),
        )
        training = self.training
        targets = Targets(training.classes[rows], training.ratings[rows], training.weights[rows])
        share = sequences[self.ranks.share]
        inputs = padded(share, self.learner.pad_id, self._widest) if share else None
        loss, self._ending = self.learner.step(
            inputs, targets, self.step, self.steps, self._asked_to_end
        )
        if not math.isfinite(loss):
            raise UserError(
                f"the training loss is {loss} at step {self.step + 1}: training has diverged; "
                "lower learning_rate or max_grad_norm"
            )
        self._loss_sum += loss
        self._loss_steps += 1
        lengths = np.array([len(sequence) for sequence in sequences])
        self.meter.add(lengths, time.perf_counter() - begun)
        return self._loss_sum / self._loss_steps

    def best_model(self) -> "tuple[PreTrainedModel, Calibration, dict[str, float]]":
        """The plain classifier with the best weights, its calibration, its validation scores.

        The temperature is in the weights, so that no consumer has to know of it.
        """
        classifier, reviews = self.learner.classifier_with(self._best_weights), self.validation
        # In fp32 and by the plain forward pass, as evaluation and serving will compute.
        logits = predict_logits(classifier, [reviews.row(index) for index in range(len(reviews))])
        calibration, scores = calibrate(
            logits, reviews.classes, tune_decisions=self.options.tune_decisions
        )
        return classifier, fold_temperature(classifier, calibration), scores

    def resume(self, folder: str | Path | None, key: str) -> int:
        """Go on from the checkpoint of this key, if the first rank finds it in the folder.

        The next ones are written there. Without a folder the run has none.

        Returns:
            The step where it stood; 0 where there is none.
        """
        self._checkpoint = None if folder is None else Checkpoint(Path(folder), key)
        saved = self._checkpoint.load() if self._checkpoint and self.ranks.first else None
        saved = self.ranks.checkpoint_from_first(saved)
        if saved is None:
            return 0
        self._restore(*saved)
        if self.ranks.first:
            logger.info("going on from step %d of %d", self.step, self.steps)
        return self.step

    def save(self) -> None:
        """Write a checkpoint, on the first rank, if the run has one."""
        if self._checkpoint is not None and self.ranks.first:
            self._checkpoint.save(*self._state())

    def remove_checkpoint(self) -> None:
        """Delete the checkpoint, if there is one."""
        if self._checkpoint is not None:
            self._checkpoint.remove()

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """All that the rest of the run depends on, after at least one step."""
        learner, tensors = self.learner, {}
        for index, weight in enumerate(learner.working.masters):
            tensors[f"weight.{index}"] = weight
            tensors[f"average.{index}"] = learner.average[index]
            tensors[f"best.{index}"] = self._best_weights[index]
            for name, value in learner.optimiser.state[weight].items():
                tensors[f"optimiser.{name}.{index}"] = value
        return tensors, {
            "step": self.step,
            "best": self.best,
            "stale": self._evaluations_since_best,
            "loss_sum": self._loss_sum,
            "loss_steps": self._loss_steps,
            "history": self.history,
            "speed": self.meter.totals,
        }

    def _restore(self, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
        """Go on, from the start of a run, from what `_state` returned."""
        learner = self.learner
        with torch.no_grad():
            for index, weight in enumerate(learner.working.masters):
                weight.copy_(tensors[f"weight.{index}"])
                learner.average[index].copy_(tensors[f"average.{index}"])
                self._best_weights[index].copy_(tensors[f"best.{index}"])
                # Fused AdamW keeps its step count beside the moments, on the weight's device.
                learner.optimiser.state[weight] = {
                    name: tensors[f"optimiser.{name}.{index}"].to(self.ranks.device)
                    for name in ("step", "exp_avg", "exp_avg_sq")
                }
        learner.working.refresh()
        self.step = progress["step"]
        self.best = progress["best"]
        self._evaluations_since_best = progress["stale"]
        self._loss_sum, self._loss_steps = progress["loss_sum"], progress["loss_steps"]
        self.history = progress["history"]
        self.meter.totals = dict(progress["speed"])

    def _evaluate(self) -> None:
        """Score the averaged weights on the validation split, and keep them if they lead."""
        learner = self.learner
        learner.working.load(learner.average)
        logits = self.validation_logits(self.validation) - learner.log_weights
        learner.working.refresh()
        entry = {
            "step": self.step,
            "epoch": round(self.step / self.steps_per_epoch, 4),
            "train_loss": self._loss_sum / max(1, self._loss_steps),
            **score(logits, self.validation.classes),
            "samples_per_second": round(self.meter.samples_per_second, 2),
        }
        self._loss_sum, self._loss_steps = 0.0, 0
        self.history.append(entry)
        if not self.best or _rank(entry) > _rank(self.best):
            self.best = entry
            self._best_weights = [weight.clone() for weight in learner.average]
            self._evaluations_since_best = 0
        else:
            self._evaluations_since_best += 1

    def validation_logits(self, reviews: TokenisedReviews) -> NDArray[np.float32]:
        """Sentiment logits [n, classes] of all rows, by the working copy and without dropout.

        The ranks share the batches out; a batch is the same however many they are.
        """
        device, network = self.ranks.device, self.learner.working.network
        logits = torch.zeros(len(reviews), len(self.class_counts), device=device)
        network.eval()
        with torch.inference_mode():
            for rows in length_batches(reviews.lengths, _VALIDATION_ROWS)[self.ranks.share]:
                chosen = [reviews.row(row) for row in rows]
                tokens, mask = padded(chosen, self.learner.pad_id, self._widest)
                of_batch, _ = network(
                    torch.from_numpy(tokens).to(device),
                    None if mask is None else torch.from_numpy(mask).to(device),
                )
                logits[torch.from_numpy(rows).to(device)] = of_batch
            self.ranks.sum(logits)
        network.train()
        return logits.cpu().numpy()

    def _stopped_improving(self) -> bool:
        return 0 < self.options.early_stopping_patience <= self._evaluations_since_best

    def _out_of_time(self) -> bool:
        """Whether the time is over; weights that were never scored are scored then."""
        limit = self.options.max_seconds
        if not limit or not self.step or time.monotonic() - self._begun < limit:
            return False
        if not self.history:
            self._evaluate()
        logger.info("the time is over after step %d of %d", self.step, self.steps)
        return True

    def _note_sigterm(self) -> None:
        """Leave at the end of this step, after a checkpoint."""
        self._asked_to_end = True


def _rank(entry: Metrics) -> tuple[float, float]:
    """Macro-F1 first; where it is equal, as early on with rare classes, the lower loss."""
    return entry["macro_f1"], -entry["validation_loss"]
