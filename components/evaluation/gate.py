"""The gate: may this model be registered and deployed, and if not, why not, in words.

The pipeline decides by the same comparisons (`dsl.If` on the step's outputs); what is decided here
is written into the summary and the report. Both use `>=` on unrounded numbers.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from components.evaluation.comparison import NO_CHAMPION, WORSE
from components.shared.machine.errors import UserError


@dataclass(frozen=True)
class GateDecision:
    """What the gate says."""

    passed: bool  # whether the model may go on
    reasons: list[str]  # one sentence per condition, with its numbers; first those that failed
    met: list[bool]  # whether each of those conditions is met
    warnings: list[str]  # what makes the gate weaker than it looks

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return asdict(self)


def check_thresholds(
    accuracy_threshold: float, macro_f1_threshold: float, champion_margin: float
) -> None:
    """Refuse thresholds that no score can be compared with.

    A threshold above 1 is let through, with a warning by `decide`: it is a way to keep the gate
    closed, and whoever meant 85 % should not lose the training that came before.

    Raises:
        UserError: If one is not a finite number.
    """
    for name, value in (
        ("accuracy_threshold", accuracy_threshold),
        ("macro_f1_threshold", macro_f1_threshold),
        ("champion_margin", champion_margin),
    ):
        if not math.isfinite(value):
            raise UserError(f"{name} is {value}; give a share between 0 and 1, such as 0.85")


def passes(value: float, threshold: float) -> bool:
    """The one comparison of the gate, as in the pipeline: at least the threshold."""
    return value >= threshold


def not_worse(champion_verdict: str) -> bool:
    """Whether the verdict of the comparison lets the model pass."""
    return champion_verdict != WORSE


def decide(
    accuracy: float,
    macro_f1: float,
    majority_rate: float,
    accuracy_threshold: float,
    macro_f1_threshold: float,
    champion_verdict: str,
) -> GateDecision:
    """Decide whether the model may be registered and deployed.

    Args:
        accuracy: On the test split.
        macro_f1: On the test split.
        majority_rate: Share of the most frequent class in the test split: the accuracy of a model
            that always says the same.
        accuracy_threshold: Least accuracy.
        macro_f1_threshold: Least macro-F1.
        champion_verdict: `better`, `not worse`, `worse` or `no champion`.

    Returns:
        The decision with its reasons.
    """
    conditions = [
        _compared("Accuracy", accuracy, accuracy_threshold),
        _compared("Macro-F1", macro_f1, macro_f1_threshold),
        (not_worse(champion_verdict), _CHAMPION_WORDS[champion_verdict]),
    ]
    conditions.sort(key=lambda condition: condition[0])
    warnings = []
    if accuracy_threshold < majority_rate:
        warnings.append(
            f"The accuracy threshold {_number(accuracy_threshold)} is below the majority-class "
            f"rate {_number(majority_rate)}: a model that always gives the most frequent class "
            "would pass it. Macro-F1 is what guards this gate."
        )
    warnings += [
        f"The {name} threshold {threshold:g} is above 1, so no model can reach it; give a share "
        "such as 0.85."
        for name, threshold in (("accuracy", accuracy_threshold), ("macro-F1", macro_f1_threshold))
        if threshold > 1
    ]
    return GateDecision(
        passed=all(met for met, _ in conditions),
        reasons=[words for _, words in conditions],
        met=[met for met, _ in conditions],
        warnings=warnings,
    )


_CHAMPION_WORDS = {
    "better": "The model is significantly better than the champion on the same reviews.",
    "not worse": "The model is not worse than the champion on the same reviews.",
    WORSE: "The model is worse than the champion on the same reviews by more than the margin.",
    NO_CHAMPION: "There is no champion yet to compare with.",
}


def _compared(name: str, value: float, threshold: float) -> tuple[bool, str]:
    """Whether a condition is met, and the sentence that says so."""
    met = passes(value, threshold)
    relation = "reaches" if met else "is below"
    shown = _number(value)
    # Never a sentence such as ".850 is below .850": show what tells them apart.
    if not met and shown == _number(threshold):
        return met, f"{name} {value!r} {relation} the threshold {threshold!r}."
    return met, f"{name} {shown} {relation} the threshold {_number(threshold)}."


def _number(share: float) -> str:
    """A share with three decimals."""
    return f"{share:.3f}"
