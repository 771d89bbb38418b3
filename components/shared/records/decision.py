"""From logits to probabilities and labels: the same arithmetic in evaluation and in serving."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become probabilities and decisions.

    Attributes:
        temperature: Divisor of the logits, fitted on validation (Guo et al. 2017, "On Calibration
            of Modern Neural Networks"); above 0.
        decision_offsets: Added to the log-probability of each class before the argmax; without
            any, or with zeros, the most probable class wins. Probabilities stay calibrated.
        folded_temperature: What training divided the last layer's weights by already, so that the
            logits are calibrated wherever the network runs; the temperature is 1 then.
    """

    temperature: float = 1.0
    decision_offsets: tuple[float, ...] = ()
    folded_temperature: float = 1.0

    @property
    def whole_temperature(self) -> float:
        """The temperature that was fitted, wherever it is applied."""
        return self.temperature * self.folded_temperature

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self) | {"decision_offsets": list(self.decision_offsets)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Calibration":
        """From what `to_dict` wrote."""
        return cls(
            float(values["temperature"]),
            tuple(map(float, values["decision_offsets"])),
            float(values.get("folded_temperature", 1.0)),
        )


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float64]:
    """Log-probabilities of logits [n, classes] after division by the temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def probabilities(logits: ArrayLike, calibration: Calibration) -> NDArray[np.float64]:
    """Calibrated class probabilities [n, classes] of logits [n, classes]."""
    return np.exp(log_softmax(logits, calibration.temperature))


def decide(logits: ArrayLike, calibration: Calibration) -> NDArray[np.int64]:
    """Class index [n] of each row of logits [n, classes]."""
    log_probabilities = log_softmax(logits, calibration.temperature)
    return np.argmax(log_probabilities + np.asarray(calibration.decision_offsets or 0.0), axis=-1)


def decide_under_prior(
    logits: ArrayLike, calibration: Calibration, prior: ArrayLike
) -> NDArray[np.int64]:
    """Class index [n] of each row of logits [n, classes] if all classes were equally frequent.

    Divides the posterior by the class prior [classes] that the model learned from (Saerens et al.
    2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities"); no offsets.
    """
    log_probabilities = log_softmax(logits, calibration.temperature)
    return np.argmax(log_probabilities - np.log(np.asarray(prior, dtype=np.float64)), axis=-1)


def fit_temperature(logits: ArrayLike, classes: ArrayLike) -> float:
    """Temperature that makes held-out logits as probable as possible (Guo et al. 2017).

    Minimises the mean negative log-likelihood, which is convex in the inverse temperature, so the
    bounded search finds its one minimum. Accuracy does not change.

    Args:
        logits: [n, classes] of rows that training did not learn from: validation.
        classes: True class index [n] of each row.

    Returns:
        The temperature, between 0.05 and 20; 1.0 where there are no rows.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    classes = np.asarray(classes, dtype=np.int64)
    if len(classes) == 0:
        return 1.0
    rows = np.arange(len(classes))

    def negative_log_likelihood(inverse_temperature: float) -> float:
        return -float(log_softmax(logits * inverse_temperature)[rows, classes].mean())

    fit = minimize_scalar(
        negative_log_likelihood, bounds=(1 / 20, 20.0), method="bounded", options={"xatol": 1e-7}
    )
    return float(1.0 / fit.x)
