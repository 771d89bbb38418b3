"""What is searched: parameters and how their values are drawn. One description for every search."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    import numpy as np

Value = float | int | str


@dataclass(frozen=True)
class Parameter:
    """One parameter of the search.

    Attributes:
        name: Name of a training option.
        kind: `double`, `int`, `discrete` (numbers from a list) or `categorical` (texts from one).
        low: Smallest value of a double or int.
        high: Largest value of a double or int.
        step: Grid that a double or int lies on, counted from `low`; 0 where there is none.
        distribution: `uniform`, `logUniform`, `normal` or `logNormal`, for a double or int.
        choices: The list of a discrete or categorical parameter.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    distribution: str = "uniform"
    choices: tuple[Value, ...] = ()

    def draw(self, rng: "np.random.Generator") -> Value:
        """Draw a value: an int for `int`, a float for `double`, else an element of the list.

        The normal distributions lie in the middle of the range (of its logarithm, for
        `logNormal`) with a sixth of its width as standard deviation, as in Katib's hyperopt
        service; what falls outside the range is drawn again.
        """
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        if self.kind == "int" and self.distribution == "uniform" and not self.step:
            return int(rng.integers(int(self.low), int(self.high), endpoint=True))
        value = self._on_grid(self._draw_real(rng))
        return round(value) if self.kind == "int" else value

    def value(self, text: str) -> Value:
        """The value that Katib wrote as text, as `draw` gives it; `UserError` if it cannot be."""
        if self.kind == "categorical":
            return text
        number = number_in(text, "the value", f"parameter {self.name}")
        whole = self.kind == "int" or (self.kind == "discrete" and number.is_integer())
        return round(number) if whole else number

    def _draw_real(self, rng: "np.random.Generator") -> float:
        logarithmic = self.distribution.startswith("log")
        low, high = self.low, self.high
        if logarithmic:
            low, high = math.log(low), math.log(high)
        if self.distribution in ("uniform", "logUniform"):
            value = rng.uniform(low, high)
        else:
            value = math.inf
            while not low <= value <= high:
                value = rng.normal((low + high) / 2, (high - low) / 6) if high > low else low
        if logarithmic:
            value = math.exp(value)
        return float(min(max(value, self.low), self.high))

    def _on_grid(self, value: float) -> float:
        if not self.step:
            return value
        last = math.floor((self.high - self.low) / self.step + 1e-9)
        steps = min(round((value - self.low) / self.step), last)
        # Twelve digits rid 0.1 + 2 * 0.1 of what binary fractions add to it.
        return min(float(f"{self.low + steps * self.step:.12g}"), self.high)


@dataclass(frozen=True)
class SearchSpace:
    """What is searched, and for what.

    Attributes:
        parameters: In the order of the manifest.
        objective: Name of the metric.
        maximize: Whether more of it is better.
        random_state: The manifest's seed; None where it has none.
    """

    parameters: tuple[Parameter, ...]
    objective: str
    maximize: bool
    random_state: int | None

    def sample(self, rng: "np.random.Generator") -> dict[str, Value]:
        """Draw a value of each parameter; the same seed gives the same draws."""
        return {parameter.name: parameter.draw(rng) for parameter in self.parameters}


def in_words(parameters: Mapping[str, Value]) -> str:
    """Parameters as people write them: `learning_rate 3e-05, epochs 3`."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in parameters.items()
    )


def number_in(text: str, key: str, place: str) -> float:
    """The finite number that a text holds; `UserError` names its key and place."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{place}: {key} {text!r} is not a number")
    return number
