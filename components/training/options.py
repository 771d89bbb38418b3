"""The options of fine-tuning: their names, defaults, bounds and meaning, here and nowhere else.

The defaults were chosen on the validation split of some 19,000 clothing reviews with the packaged
MiniLM encoder. Freezing the embeddings and the lowest third of the layers saves a third of the
time.
With it, more token dropout and more weight on the star rating, the third epoch no longer overfits
and macro-F1 is not lower than with all layers trained. Weights by the root of the inverse class
frequency change little there, but teach rare classes in far fewer steps where reviews are few.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from components.shared.machine.errors import UserError


def _option(
    default: Any,
    about: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field with its help text and its bounds (both included)."""
    return field(
        default=default,
        metadata={"about": about, "low": low, "high": high, "choices": choices},
    )


@dataclass(frozen=True)
class TrainingOptions:
    """How a classifier is fine-tuned. Values out of bounds raise `UserError`.

    The `about` of each field, which the command line shows as help, says what it does.
    """

    learning_rate: float = _option(1e-4, "peak learning rate of the encoder's top layer", 1e-8, 1.0)
    head_learning_rate: float = _option(
        1e-3, "peak learning rate of the new classification layers", 1e-8, 1.0
    )
    layer_decay: float = _option(
        0.9, "learning rate of a layer as a share of that of the layer above", 0.1, 1.0
    )
    epochs: int = _option(3, "passes over the training rows", 1, 1000)
    min_steps: int = _option(
        300, "optimiser steps that small data get at least, by more epochs than asked for", 0, 10**6
    )
    batch_size: int = _option(32, "reviews per optimiser step, of all processes together", 1, 4096)
    warmup_fraction: float = _option(
        0.1, "share of the steps in which the learning rate rises; then it falls to 0", 0.0, 1.0
    )
    weight_decay: float = _option(0.01, "decoupled weight decay of the matrices", 0.0, 1.0)
    max_grad_norm: float = _option(1.0, "gradients are scaled down to this norm", 1e-6, 1e6)
    class_weights: str = _option(
        "sqrt",
        "weight of each class in the loss: none, inverse frequency (balanced) or its root (sqrt); "
        "the probabilities are corrected for it afterwards",
        choices=("none", "sqrt", "balanced"),
    )
    label_smoothing: float = _option(
        0.0, "share of each target spread evenly over the classes", 0.0, 0.5
    )
    rating_loss_weight: float = _option(
        1.0,
        "weight of a second loss, on the star rating; its layer is dropped afterwards",
        0.0,
        10.0,
    )
    dropout: float = _option(0.2, "dropout before the classification layer, the only one", 0.0, 0.9)
    token_dropout: float = _option(
        0.15,
        "share of the tokens that each batch leaves out: regularisation that saves time",
        0,
        0.9,
    )
    average_decay: float = _option(
        0.997,
        "decay per step of the running average of the weights that is kept; 0: none",
        0.0,
        1.0,
    )
    freeze_embeddings: bool = _option(True, "keep the word and position embeddings as they are")
    frozen_share: float = _option(
        0.34,
        "share of the encoder layers, the lowest, to keep as they are (rounded down)",
        0.0,
        1.0,
    )
    evaluations_per_epoch: int = _option(2, "looks at the validation split per epoch", 1, 1000)
    patience: int = _option(
        8, "evaluations without a better macro-F1 after which training stops; 0: never", 0, 10000
    )
    tune_decisions: bool = _option(
        False, "choose decision offsets for macro-F1 on the validation split"
    )
    precision: str = _option(
        "auto",
        "auto takes bf16 where the device multiplies it fast",
        choices=("auto", "bf16", "fp32"),
    )
    checkpoint_minutes: float = _option(
        1.0, "time between checkpoints; 0: one each step", 0.0, 100000.0
    )
    seed: int = _option(42, "of the new layers, the order of the rows and dropout", 0, 2**31 - 1)

    def __post_init__(self) -> None:
        for option in fields(self):
            _check(option.name, getattr(self, option.name), option.metadata)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingOptions":
        """Build options from names and values; what is not named keeps its default.

        Args:
            values: Values as such or as text (`"3e-5"`, `"true"`), as command lines, Katib and
                pipeline parameters give them.

        Raises:
            UserError: For a name that does not exist, or a value of the wrong kind or out of
                bounds.
        """
        kinds = {option.name: option.type for option in fields(cls)}
        unknown = sorted(set(values) - set(kinds))
        if unknown:
            raise UserError(
                f"there is no training option {', '.join(map(str, unknown))}; "
                f"the options are {', '.join(kinds)}"
            )
        return cls(**{name: _convert(name, value, kinds[name]) for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """All options by name, JSON-ready; `from_dict` takes it back."""
        return asdict(self)


def _convert(name: str, value: Any, kind: Any) -> Any:
    """A value as given, as the kind that the option has."""
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "1": True, "false": False, "0": False}[str(value).lower()]
        if isinstance(value, bool):
            raise ValueError
        if kind is int:
            number = float(value)
            if number != int(number):
                raise ValueError
            return int(number)
        if kind is float:
            return float(value)
    except (TypeError, ValueError, KeyError, OverflowError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UserError(f"training option {name} must be {wanted}, not {value!r}") from None
    return str(value)


def _check(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    """Raise `UserError` if the value is out of bounds."""
    if limits["choices"] and value not in limits["choices"]:
        choices = ", ".join(limits["choices"])
        raise UserError(f"training option {name} must be one of {choices}, not {value!r}")
    low, high = limits["low"], limits["high"]
    if low is not None and not (math.isfinite(value) and low <= value <= high):
        raise UserError(f"training option {name} must lie from {low:g} to {high:g}, not {value!r}")
