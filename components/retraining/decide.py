"""Whether to retrain: a rule over what monitoring saw, what people labelled, what came before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from components.shared.machine.options import Options, option

RETRAIN, ASK, WAIT = "retrain", "ask for labels", "wait"
"""What a decision says: train again, have reviews labelled first, or do nothing."""


@dataclass(frozen=True)
class TriggerOptions(Options, called="trigger option"):
    """When a retraining is worth it."""

    least_labels: int = option(
        50, "labels by people, new since the last retraining, below which none starts", 1, 10**9
    )
    enough_labels: int = option(
        500, "so many new labels are reason enough, without any drift", 1, 10**9
    )
    cool_down_hours: float = option(
        24.0, "time after the start of a retraining in which no other starts", 0, 8760
    )


@dataclass(frozen=True)
class Situation:
    """What is known at the time of a decision.

    Attributes:
        drifted: What monitoring says of the window: `yes`, `no` or `unknown`.
        findings: What drifted, in words; concept drift among it.
        window_until: End of the window that monitoring looked at.
        labels: When each label that people gave became known.
        trained_until: Time up to which the champion's training knew labels; None where unknown.
    """

    drifted: str
    findings: str
    window_until: datetime
    labels: Sequence[datetime]
    trained_until: datetime | None = None


@dataclass(frozen=True)
class Retraining:
    """A retraining that was decided on before, and the evidence that it used up.

    Attributes:
        run: The pipeline run that decided.
        started: When it was decided.
        ended: Whether its training came to an end, with or without a new champion.
        labels_until: Labels known up to then are used up.
        window_until: Drift seen in windows up to then is used up.
        reason: Why it was decided.
        new_labels: Labels by people that it learns from for the first time.
    """

    run: str
    started: datetime
    ended: bool
    labels_until: datetime
    window_until: datetime
    reason: str = ""
    new_labels: int = 0


@dataclass(frozen=True)
class Decision:
    """What to do, and why, in one sentence."""

    action: str
    reason: str
    new_labels: int


def decide(
    situation: Situation, before: Sequence[Retraining], options: TriggerOptions, now: datetime
) -> Decision:
    """Decide from the situation and the retrainings before.

    Evidence counts once: labels and drift that an earlier retraining used start no other. A
    retraining that never ended gives its evidence back after the cool-down. Drift alone asks for
    labels: to train on the same rows again would not cure it.

    Args:
        situation: What is known.
        before: Earlier retrainings, in any order.
        options: When a retraining is worth it.
        now: The time of the decision.

    Returns:
        The decision; equal arguments give equal ones.
    """
    cool_down = timedelta(hours=options.cool_down_hours)
    counted = [one for one in before if one.ended or now - one.started < cool_down]
    known = [one.labels_until for one in counted]
    known += [situation.trained_until] if situation.trained_until else []
    new = sum(all(label > until for until in known) for label in situation.labels)
    drift = situation.drifted == "yes" and all(
        situation.window_until > one.window_until for one in counted
    )
    labels = f"{new} label{'s' * (new != 1)} by people {'are' if new != 1 else 'is'} new"
    why = situation.findings.rstrip(".") if drift else ""
    if not drift and new < options.enough_labels:
        seen = {"no": "Nothing drifted", "unknown": "There is too little data to see drift"}
        nothing = seen.get(situation.drifted, "What drifted has started a retraining already")
        few = f"{labels}, {options.enough_labels} would be reason enough"
        return Decision(WAIT, f"{nothing}, and {few}.", new)
    if new < options.least_labels:
        few = f"{labels}, and a retraining needs {options.least_labels}"
        return Decision(ASK, f"{why}; but only {few}.", new)
    recent = max((one.started for one in counted), default=None)
    if recent and now - recent < cool_down:
        end = recent + cool_down
        pause = f"the last retraining started at {recent:%Y-%m-%d %H:%M} UTC"
        return Decision(WAIT, f"{labels}; {pause}, the next may at {end:%Y-%m-%d %H:%M}.", new)
    return Decision(RETRAIN, f"{why}; {labels}." if why else f"{labels}.", new)
