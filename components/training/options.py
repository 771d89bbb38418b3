"""The options of fine-tuning: their names, defaults, bounds and meaning, here and nowhere else.

The defaults were chosen on the validation split of some 19,000 clothing reviews with the packaged
MiniLM encoder. Freezing the embeddings and the lowest third of the layers saves a third of the
time.
With it, more token dropout and more weight on the star rating, the third epoch no longer overfits
and macro-F1 is not lower than with all layers trained. Weights by the root of the inverse class
frequency change little there, but teach rare classes in far fewer steps where reviews are few.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from components.shared.machine.errors import UserError
from components.shared.machine.options import Options, option


@dataclass(frozen=True)
class TrainingOptions(Options, called="training option"):
    """How a classifier is fine-tuned. Values out of bounds raise `UserError`.

    The `about` of each field, which the command line shows as help, says what it does.
    """

    learning_rate: float = option(1e-4, "peak learning rate of the encoder's top layer", 1e-8, 1.0)
    head_learning_rate: float = option(
        1e-3, "peak learning rate of the new classification layers", 1e-8, 1.0
    )
    layer_decay: float = option(
        0.9, "learning rate of a layer as a share of that of the layer above", 0.1, 1.0
    )
    epochs: int = option(3, "passes over the training rows", 1, 1000)
    min_steps: int = option(
        300, "optimiser steps that small data get at least, by more epochs than asked for", 0, 10**6
    )
    batch_size: int = option(32, "reviews per optimiser step, of all processes together", 1, 4096)
    warmup_fraction: float = option(
        0.1, "share of the steps in which the learning rate rises; then it falls to 0", 0.0, 1.0
    )
    weight_decay: float = option(0.01, "decoupled weight decay of the matrices", 0.0, 1.0)
    max_grad_norm: float = option(1.0, "gradients are scaled down to this norm", 1e-6, 1e6)
    class_weights: str = option(
        "sqrt",
        "weight of each class in the loss: none, inverse frequency (balanced) or its root (sqrt); "
        "the probabilities are corrected for it afterwards",
        choices=("none", "sqrt", "balanced"),
    )
    label_smoothing: float = option(
        0.0, "share of each target spread evenly over the classes", 0.0, 0.5
    )
    rating_loss_weight: float = option(
        1.0,
        "weight of a second loss, on the star rating; its layer is dropped afterwards",
        0.0,
        10.0,
    )
    dropout: float = option(0.2, "dropout before the classification layer, the only one", 0.0, 0.9)
    token_dropout: float = option(
        0.15,
        "share of the tokens that each batch leaves out: regularisation that saves time",
        0,
        0.9,
    )
    average_decay: float = option(
        0.997,
        "decay per step of the running average of the weights that is kept; 0: none",
        0.0,
        1.0,
    )
    freeze_embeddings: bool = option(True, "keep the word and position embeddings as they are")
    frozen_share: float = option(
        0.34,
        "share of the encoder layers, the lowest, to keep as they are (rounded down)",
        0.0,
        1.0,
    )
    evaluations_per_epoch: int = option(2, "looks at the validation split per epoch", 1, 1000)
    early_stopping_patience: int = option(
        8, "evaluations without a better macro-F1 after which training stops; 0: never", 0, 10000
    )
    tune_decisions: bool = option(
        False, "choose decision offsets for macro-F1 on the validation split"
    )
    precision: str = option(
        "auto",
        "auto takes bf16 where the device multiplies it fast",
        choices=("auto", "bf16", "fp32"),
    )
    checkpoint_minutes: float = option(
        1.0, "time between checkpoints; 0: one each step", 0.0, 100000.0
    )
    max_seconds: float = option(
        0.0,
        "seconds after which training ends with the best weights so far; 0: never",
        0.0,
        1e7,
    )
    seed: int = option(
        42, "seed of the new layers, the order of the rows and dropout", 0, 2**31 - 1
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """As `Options.from_dict`; an option's former name is refused with its present one."""
        for former, name in _RENAMED.items():
            if former in values:
                raise UserError(f"training option {former} is now named {name}; write {name}")
        return super().from_dict(values)

    def under_former_names(self) -> dict[str, Any]:
        """All options under the names that checkpoints of earlier versions go by."""
        former = {name: old for old, name in _RENAMED.items()}
        return {former.get(name, name): value for name, value in self.to_dict().items()}


_RENAMED = {"patience": "early_stopping_patience"}
"""Present names of options by their former ones."""


def is_one_process(nodes: int, gpus_per_node: int) -> bool:
    """Whether training needs no TrainJob: one process does it, on one GPU or on the CPU."""
    return nodes == 1 and gpus_per_node in (0, 1)
