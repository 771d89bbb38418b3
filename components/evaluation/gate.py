"""The gate: may this model be registered and deployed, and if not, why not?

The pipeline decides by the same comparisons (`dsl.If` on the step's outputs); what is decided here
is written into the summary and the report. Both use `>=` on unrounded numbers.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from components.evaluation.champion import BETTER, NO_CHAMPION, NOT_WORSE, WORSE
from components.shared.machine.errors import UserError
from components.shared.machine.options import Options, option


@dataclass(frozen=True)
class GateOptions(Options, called="gate option"):
    """The thresholds of the gate.

    A threshold above 1 is allowed, and `decide` warns of it: it is a way to close the gate, and a
    user who meant 85 % should not lose the training that came before.
    """

    accuracy_threshold: float = option(0.8, "least accuracy, 0 to 1")
    macro_f1_threshold: float = option(0.6, "least macro-F1, 0 to 1")
    champion_margin: float = option(0.01, "tolerated loss of macro-F1 against the champion, 0 to 1")

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if not math.isfinite(value):
                raise UserError(f"{name} is {value}; give a share between 0 and 1, such as 0.85")


@dataclass(frozen=True)
class GateDecision:
    """The gate's decision."""

    passed: bool
    reasons: list[str]  # one sentence per condition, with its numbers; first those that failed
    met: list[bool]  # whether each of those conditions is met
    warnings: list[str]  # what makes the gate weaker than it looks

    def to_dict(self) -> dict[str, Any]:
        """The decision, JSON-ready."""
        return asdict(self)


def not_worse(champion_verdict: str) -> bool:
    """Whether the verdict of the comparison lets the model pass."""
    return champion_verdict != WORSE


def decide(
    accuracy: float,
    macro_f1: float,
    majority_rate: float,
    champion_verdict: str,
    options: GateOptions,
) -> GateDecision:
    """Decide whether the model may be registered and deployed.

    Args:
        accuracy: Accuracy on the test split.
        macro_f1: Macro-F1 on the test split.
        majority_rate: Share of the most frequent class in the test split: the accuracy of a model
            that always gives this class.
        champion_verdict: `better`, `not worse`, `worse` or `no champion`.
        options: The thresholds.
    """
    conditions = [
        _compared("Accuracy", accuracy, options.accuracy_threshold),
        _compared("Macro-F1", macro_f1, options.macro_f1_threshold),
        (not_worse(champion_verdict), _CHAMPION_WORDS[champion_verdict]),
    ]
    conditions.sort(key=lambda condition: condition[0])
    warnings = []
    if options.accuracy_threshold < majority_rate:
        warnings.append(
            f"The accuracy threshold {options.accuracy_threshold:.3f} is below the majority-class "
            f"rate {majority_rate:.3f}: a model that always gives the most frequent class "
            "would pass it. Macro-F1 is what guards this gate."
        )
    warnings += [
        f"The {name} threshold {threshold:g} is above 1, so no model can reach it; give a share "
        "such as 0.85."
        for name, threshold in (
            ("accuracy", options.accuracy_threshold),
            ("macro-F1", options.macro_f1_threshold),
        )
        if threshold > 1
    ]
    met = [condition for condition, _ in conditions]
    return GateDecision(all(met), [words for _, words in conditions], met, warnings)


_CHAMPION_WORDS = {
    BETTER: "The model is significantly better than the champion on the same reviews.",
    NOT_WORSE: "The model is not worse than the champion on the same reviews.",
    WORSE: "The model is worse than the champion on the same reviews by more than the margin.",
    NO_CHAMPION: "There is no champion yet to compare with.",
}


def _compared(name: str, value: float, threshold: float) -> tuple[bool, str]:
    """Whether a condition is met, as in the pipeline, and the sentence about it."""
    met = value >= threshold
    shown, limit = f"{value:.3f}", f"{threshold:.3f}"
    if not met and shown == limit:  # show the digits in which they differ
        shown, limit = repr(value), repr(threshold)
    return met, f"{name} {shown} {'reaches' if met else 'is below'} the threshold {limit}."
