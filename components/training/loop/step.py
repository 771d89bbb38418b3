"""One step of training: forward, loss, backward, the sum over the ranks, optimiser, average.

Weights are kept in fp32, the *masters*, beside a *working copy* that computes in bf16 where the
device is faster at it (Micikevicius et al. 2018, "Mixed Precision Training"). They are cast once
per step, where autocast would cast activations back and forth all along.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from components.shared.machine.first_token_layer import compute_first_token_only
from components.shared.machine.inference import fast_precision
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.statistics.class_weights import class_weights
from components.training.loop.distributed import Ranks
from components.training.loop.network import (
    ReviewNetwork,
    build_network,
    depth_of,
    dropout_mask,
    final_linear,
    head_modules,
    load_classifier,
)
from components.training.options import TrainingOptions

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ALIGNED = 16
"""Gradients begin at multiples of this many numbers, as tensors of their own would."""


class Targets(NamedTuple):
    """What the rows of a batch are to be answered with."""

    classes: NDArray[np.int64]  # [b] class indices
    ratings: NDArray[np.int64]  # [b] stars 1 to 5, or 0 where a row has none
    weights: NDArray[np.float32]  # [b] what each row counts in the loss


class Learner:
    """The network, and all that a step changes of it.

    Attributes:
        network: fp32; its trained parameters are the masters.
        working: The copy of it that computes.
        optimiser: Moves the masters.
        average: Running average of the masters, one tensor for each.
        precision: Precision of the working copy's encoder, `bf16` or `fp32`.
        pad_id: Token that fills short rows up.
        log_weights: [classes] logarithm of each class's weight in the loss.
    """

    def __init__(
        self,
        base_model: str,
        options: TrainingOptions,
        class_counts: NDArray[np.int64],
        ranks: Ranks,
        labels: LabelSet = SENTIMENTS,
    ) -> None:
        """Load the base model, the same on all ranks, with a head for these classes."""
        self._options, self._ranks, device = options, ranks, ranks.device
        self.precision = options.precision
        if options.precision == "auto":
            self.precision = fast_precision(device)
        classifier = load_classifier(base_model, options.seed, labels)
        self.pad_id = int(classifier.config.pad_token_id or 0)
        self.network = build_network(
            classifier,
            options.seed,
            freeze_embeddings=options.freeze_embeddings,
            frozen_share=options.frozen_share,
        )
        self.network.train().to(device)
        ranks.copy_from_first(self.network.state_dict().values())
        self.working = WorkingCopy(self.network, self.precision, device)
        self.optimiser = build_optimiser(self.network, options)
        self.average = [master.detach().clone() for master in self.working.masters]
        weights = class_weights(class_counts, options.class_weights)
        self._class_weights = torch.from_numpy(weights).to(device)
        self.log_weights = np.log(weights)

    def step(
        self,
        inputs: tuple[NDArray[np.int64], NDArray[np.int64] | None] | None,
        targets: Targets,
        number: int,
        steps: int,
        asked_to_end: bool = False,
    ) -> tuple[float, bool]:
        """Take one optimiser step on a batch, of which this rank computes its share.

        Dropout depends on the seed and the step alone and is drawn for the whole batch, so that a
        run that goes on from a checkpoint draws the same, and so do one rank and many.

        Args:
            inputs: Token ids and mask of this rank's share; None where the last batch of an epoch
                leaves it without rows.
            targets: Targets of the whole batch.
            number: Number of the step, from 0.
            steps: Steps of the whole run.
            asked_to_end: Whether this process was asked to end.

        Returns:
            Loss of the batch, and whether any rank was asked to end.
        """
        options, device = self._options, self._ranks.device
        share, rows = self._ranks.share, len(targets.classes)
        torch.manual_seed(options.seed * 1_000_003 + number)
        dropout = dropout_mask(self.network, rows, options.dropout, device)
        summed = torch.zeros(2, device=device)  # loss; how many ranks were asked to end
        summed[1] = float(asked_to_end)
        if inputs is not None:
            tokens, mask = inputs
            outputs = self.working.network(
                torch.from_numpy(tokens).to(device),
                None if mask is None else torch.from_numpy(mask).to(device),
                None if dropout is None else dropout[share],
            )
            classes, ratings, counted = (torch.from_numpy(one[share]).to(device) for one in targets)
            weights = self._class_weights[classes] * counted
            loss = total_loss(outputs, classes, ratings, weights, options, rows)
            loss.backward()
            summed[0] = loss.detach()
        self.working.collect_gradients()
        self._ranks.sum(self.working.gradients, summed)
        torch.nn.utils.clip_grad_norm_(self.working.masters, options.max_grad_norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rate_share(number, steps, options.warmup_fraction)
        self.optimiser.step()
        self.working.refresh()
        move_average(self.average, self.working.masters, options.average_decay, number)
        value, ending = summed.tolist()
        return value, ending > 0

    def classifier_with(self, weights: list[Tensor]) -> "PreTrainedModel":
        """The plain fp32 classifier with these weights, one tensor per master, ready to predict.

        Class weights in the loss raise the odds of rare classes by those weights. Their logarithm
        is taken off the last layer's bias (Menon et al. 2021, "Long-tail Learning via Logit
        Adjustment"), so that the probabilities are those of the training frequencies.
        """
        with torch.no_grad():
            torch._foreach_copy_(self.working.masters, weights)
            bias = final_linear(self.network.classifier).bias
            bias.sub_(torch.from_numpy(self.log_weights).to(bias))
        return self.network.classifier.eval()


def total_loss(
    outputs: tuple[Tensor, Tensor],
    classes: Tensor,
    ratings: Tensor,
    weights: Tensor,
    options: TrainingOptions,
    rows: int,
) -> Tensor:
    """What training minimises: cross-entropy of the sentiment and, as a second task, of the stars.

    Stars tell 4 from 5 and 1 from 2, which the three sentiments do not (multi-task learning,
    Caruana 1997). Divided by the number of rows, not by their weights, so that a row counts the
    same in whichever batch it falls, and the shares of a batch add up to the mean over the whole.

    Args:
        outputs: Sentiment logits [b, classes] and rating logits [b, 5].
        classes: [b] class indices.
        ratings: [b] 1 to 5, or 0 where there is none, which adds nothing.
        weights: [b] of each row, from `class_weights` and how sure its label is.
        options: Label smoothing, and the weight of the second task.
        rows: Rows of the whole batch, of which these b are a share.
    """
    logits, rating_logits = outputs
    losses = functional.cross_entropy(
        logits, classes, reduction="none", label_smoothing=options.label_smoothing
    )
    loss = (losses * weights).sum() / rows
    if options.rating_loss_weight > 0.0:
        # Rows without a rating have target -1, which is skipped.
        rated = functional.cross_entropy(
            rating_logits, ratings - 1, ignore_index=-1, reduction="sum"
        )
        loss = loss + options.rating_loss_weight * (rated / rows)
    return loss


class WorkingCopy:
    """The network that computes, in bf16 or fp32, beside the fp32 masters that the optimiser moves.

    Attributes:
        network: Call this one; the head stays fp32 whatever the encoder's precision.
        masters: The trained parameters in fp32.
        gradients: Those of all masters in one fp32 vector, of which each `grad` is a view; what
            lies between them stays 0.
        first_token_only: Whether the last layer is computed for the first token alone.
    """

    def __init__(self, network: ReviewNetwork, precision: str, device: torch.device) -> None:
        """Copy an fp32 network, whose parameters become the masters, as `bf16` or `fp32`."""
        network.to(device)
        self.network = copy.deepcopy(network)
        classifier = self.network.classifier
        self.first_token_only = compute_first_token_only(classifier)
        if precision == "bf16":
            heads = head_modules(classifier)
            classifier.bfloat16()
            for module in heads:
                module.float()
                module.register_forward_pre_hook(_to_fp32)
        trained = [
            (master, working)
            for master, working in zip(network.parameters(), self.network.parameters(), strict=True)
            if master.requires_grad
        ]
        self.masters = [master for master, _ in trained]
        self._working = [working for _, working in trained]
        starts = [0]
        for master in self.masters:
            starts.append(starts[-1] + -(-master.numel() // _ALIGNED) * _ALIGNED)
        self.gradients = torch.zeros(starts.pop(), device=device)
        for master, start in zip(self.masters, starts, strict=True):
            master.grad = self.gradients[start : start + master.numel()].view_as(master)
        self.refresh()  # the head went through bf16

    def collect_gradients(self) -> None:
        """Move the gradients that the copy computed to the masters, in fp32."""
        with torch.no_grad():
            for master, working in zip(self.masters, self._working, strict=True):
                if working.grad is None:
                    master.grad.zero_()
            pairs = [
                (master.grad, working.grad)
                for master, working in zip(self.masters, self._working, strict=True)
                if working.grad is not None
            ]
            if pairs:  # a rank without rows of a batch has none
                torch._foreach_copy_([to for to, _ in pairs], [given for _, given in pairs])
            for working in self._working:
                working.grad = None

    def load(self, weights: list[Tensor]) -> None:
        """Compute with these weights, one tensor per master, from now on."""
        with torch.no_grad():
            torch._foreach_copy_(self._working, weights)

    def refresh(self) -> None:
        """Compute with the masters' present values."""
        self.load(self.masters)


def _to_fp32(_: nn.Module, inputs: tuple) -> tuple:
    """Forward pre-hook: floating inputs in fp32."""
    return tuple(x.float() if x.is_floating_point() else x for x in inputs)


def build_optimiser(network: ReviewNetwork, options: TrainingOptions) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019) with a learning rate for every depth of the network.

    Layers below the top learn more slowly by `layer_decay` per layer (Howard & Ruder 2018). Only
    matrices decay, biases and norms don't. The new layers have `head_learning_rate`; a pretrained
    pooler learns like the top layer. Each group's `peak` is its learning rate after warm-up.
    """
    depth = depth_of(network.classifier)
    new_layers = {id(p) for p in network.rating_head.parameters()}
    pooler = getattr(network.classifier.base_model, "pooler", None)
    pooled = set() if pooler is None else {id(p) for p in pooler.parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        below = None if id(parameter) in new_layers else depth(name.removeprefix("classifier."))
        if id(parameter) in pooled:
            below = 0
        rate = (
            options.head_learning_rate
            if below is None
            else options.learning_rate * options.layer_decay**below
        )
        decay = options.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": 0.0, "peak": rate, "weight_decay": decay}
            for (rate, decay), parameters in groups.items()
        ],
        fused=True,
    )


def rate_share(step: int, steps: int, warmup_fraction: float) -> float:
    """Learning rate of a step as a share of its peak: up to 1 in a line, then down in a line."""
    warmup = int(steps * warmup_fraction)
    if step < warmup:
        return (step + 1) / warmup
    return (steps - step) / max(1, steps - warmup)


def move_average(average: list[Tensor], weights: Sequence[Tensor], decay: float, step: int) -> None:
    """Move an exponential average of the weights after step number `step`, counted from 0.

    It generalises better than the last weights (Polyak & Juditsky 1992). Early on, when there is
    little to average, the decay is lower (Tarvainen & Valpola 2017); 0 follows the weights.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(average, [weight.detach() for weight in weights], 1 - decay)
