"""One training run: its state, its step, and the loop that takes it from start to end."""

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.shared.machine.errors import UserError
from components.training.loop.batching import epoch_batches, kept_tokens, padded
from components.training.loop.data import TokenisedReviews
from components.training.loop.distributed import Ranks
from components.training.loop.network import (
    build_network,
    check_fit,
    dropout_mask,
    final_linear,
    load_classifier,
)
from components.training.loop.objective import class_weights, total_loss
from components.training.loop.optimiser import build_optimiser, set_learning_rate
from components.training.loop.preemption import TERMINATED, Termination
from components.training.loop.progress import TrainingProgress
from components.training.loop.speed import SpeedMeter, TrainingWork
from components.training.loop.step import WorkingCopy, fast_precision
from components.training.loop.validation import network_logits, score
from components.training.loop.weight_average import WeightAverage
from components.training.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)

Metrics = dict[str, float]
"""An entry of the history: step, epoch, train_loss, validation_loss, accuracy, macro_f1,
samples_per_second."""


class TrainingRun:
    """The state of one training run and the loop that moves it.

    Attributes:
        steps: Optimiser steps of the whole run.
        steps_per_epoch: Of one epoch.
        step: Steps done.
        ending: Whether a rank was asked to end before the last step was summed up.
        history: Entries of the evaluations so far.
        best: The entry whose weights are kept.
        meter: Speed so far.
        precision: `bf16` or `fp32`.
        device: Where it computes.
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

        Raises:
            UserError: If the base model cannot be loaded or cannot read the rows' tokens.
        """
        import torch

        self.options = options
        self.training = training
        self.validation = validation
        self.ranks = ranks or Ranks()
        self.device = self.ranks.device
        self.precision = (
            fast_precision(self.device) if options.precision == "auto" else options.precision
        )
        classifier = load_classifier(base_model, options.seed)
        check_fit(classifier, training, validation)
        self.pad_id = int(classifier.config.pad_token_id or 0)
        self.network = build_network(classifier, options).to(self.device)
        self.ranks.copy_from_first(self.network.state_dict().values())
        self.working = WorkingCopy(self.network, self.precision, self.device)
        self.optimiser = build_optimiser(self.network, options)
        self.average = WeightAverage(self.working.masters, options.average_decay)
        self.best_weights = [weight.clone() for weight in self.average.weights]
        self.best: Metrics = {}
        self.stale = 0
        self.step = 0
        self.ending = False
        self._termination = Termination()
        self.loss_sum = 0.0
        self.loss_steps = 0
        self.history: list[Metrics] = []
        self.class_counts = training.class_counts()
        weights = class_weights(self.class_counts, options.class_weights)
        self.weights = torch.from_numpy(weights).to(self.device)
        self.log_weights = np.log(weights)
        self.meter = SpeedMeter(
            TrainingWork(self.network.classifier, self.working.first_token_only)
        )
        self.steps_per_epoch = len(self.batches(epoch=0))
        epochs = max(options.epochs, math.ceil(options.min_steps / self.steps_per_epoch))
        self.steps = self.steps_per_epoch * epochs
        self.evaluation_steps = {
            math.ceil(self.steps_per_epoch * number / options.evaluations_per_epoch)
            for number in range(1, epochs * options.evaluations_per_epoch + 1)
        }

    def train(self, checkpoint: Callable[[], None], on_metrics: Callable[[Metrics], None]) -> None:
        """Step until the end or until validation has stopped improving.

        After SIGTERM to one rank, all end behind the same step, with a checkpoint.

        Args:
            checkpoint: Called when a checkpoint is due.
            on_metrics: Called on the first rank after each evaluation, with its entry of the
                history.

        Raises:
            SystemExit: With the code `TERMINATED`, after SIGTERM.
        """
        self.network.train()
        self.working.network.train()
        self.working.refresh()
        saved = time.monotonic()
        epoch, batches = -1, []
        shown = TrainingProgress(self.steps, self.step, self.ranks.first)
        with self._termination, shown as progress:
            while self.step < self.steps and not self._out_of_patience():
                if self.step // self.steps_per_epoch != epoch:
                    epoch = self.step // self.steps_per_epoch
                    batches = self.batches(epoch)
                loss = self.train_step(batches[self.step % self.steps_per_epoch])
                self.step += 1
                progress.step(loss, self.meter.samples_per_second)
                evaluated = self.step in self.evaluation_steps
                if evaluated:
                    self._evaluate()
                    progress.evaluation(self.history[-1])
                due = time.monotonic() - saved >= 60 * self.options.checkpoint_minutes
                if self.ranks.first and (due or self.ending):
                    checkpoint()
                    saved = time.monotonic()
                if self.ranks.first and evaluated:
                    on_metrics(dict(self.history[-1]))
                if self.ending:
                    # When one has left, torchrun ends the other ranks of its node.
                    self.ranks.wait()
                    if self.ranks.first:
                        logger.info("asked to end after step %d of %d", self.step, self.steps)
                    raise SystemExit(TERMINATED)

    def keep_best(self) -> "PreTrainedModel":
        """Put the best weights into the plain fp32 classifier and return it, ready to predict.

        Class weights in the loss raise the odds of rare classes by those weights. Their logarithm
        is taken off the last layer's bias (Menon et al. 2021, "Long-tail Learning via Logit
        Adjustment"), so that the probabilities are those of the training frequencies.
        """
        import torch

        with torch.no_grad():
            torch._foreach_copy_(self.working.masters, self.best_weights)
            bias = final_linear(self.network.classifier).bias
            bias.sub_(torch.from_numpy(self.log_weights).to(bias))
        return self.network.classifier.eval()

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
        """Take one optimiser step on some rows, of which this rank computes its share.

        What is random depends on the seed and the step alone and is drawn for all rows, so a run
        that goes on from a checkpoint draws the same numbers, and so do one rank and many.

        Args:
            rows: Row numbers in the training split.

        Returns:
            Mean loss of the steps since the last evaluation.

        Raises:
            UserError: If the loss is not a number.
        """
        import torch

        begun = time.perf_counter()
        options = self.options
        torch.manual_seed(options.seed * 1_000_003 + self.step)
        generator = np.random.default_rng([options.seed, self.step, 1])
        sequences = kept_tokens(self.training, rows, options.token_dropout, generator)
        dropout = dropout_mask(self.network, len(rows), options.dropout, self.device)
        told = torch.zeros(2, device=self.device)  # loss; how many ranks are to end
        share = self.ranks.share
        if len(rows[share]):
            tokens, mask = padded(sequences[share], self.pad_id)
            outputs = self.working.network(
                torch.from_numpy(tokens).to(self.device),
                None if mask.all() else torch.from_numpy(mask).to(self.device),
                None if dropout is None else dropout[share],
            )
            loss = total_loss(
                outputs,
                torch.from_numpy(self.training.classes[rows[share]]).to(self.device),
                torch.from_numpy(self.training.ratings[rows[share]]).to(self.device),
                self.weights,
                options,
                len(rows),
            )
            loss.backward()
            told[0] = loss.detach()
        self.working.collect_gradients()
        told[1] = float(self._termination.asked)
        self.ranks.sum(self.working.gradients, told)
        torch.nn.utils.clip_grad_norm_(self.working.masters, options.max_grad_norm)
        set_learning_rate(self.optimiser, self.step, self.steps, options.warmup_fraction)
        self.optimiser.step()
        self.working.refresh()
        self.average.update(self.working.masters, self.step)
        value, ending = told.tolist()
        self.ending = ending > 0
        if not math.isfinite(value):
            raise UserError(
                f"the training loss is {value} at step {self.step + 1}: training has diverged; "
                "lower learning_rate or max_grad_norm"
            )
        self.loss_sum += value
        self.loss_steps += 1
        lengths = np.array([len(sequence) for sequence in sequences])
        self.meter.add(lengths, time.perf_counter() - begun)
        return self.loss_sum / self.loss_steps

    def _evaluate(self) -> None:
        """Look at the validation split with the averaged weights, and keep them if they lead."""
        self.working.load(self.average.weights)
        logits = network_logits(self.working.network, self.validation, self.pad_id, self.ranks)
        logits -= self.log_weights
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
