"""The headline of a training run: what was done with the model, and why."""

from collections.abc import Mapping
from typing import Any

from components.report.formats import count, score
from components.report.page import Headline
from components.shared.machine.commands import MODEL_NAME, make_command


def gate_of(evaluation: Mapping[str, Any], bias: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's decision: the evaluation's and, where one was asked for, the limit on bias.

    Args:
        evaluation: The evaluation's summary.
        bias: The summary of `measure_bias`; may be empty.

    Returns:
        `passed`, `reasons` (those of conditions that are not met first), `met`, `warnings`.
    """
    gate, limit = dict(evaluation["gate"]), bias.get("gate") or {}
    if limit.get("asked"):
        conditions = [*zip(gate["met"], gate["reasons"], strict=True)]
        conditions.append((limit["within"], limit["reason"]))
        conditions.sort(key=lambda condition: condition[0])
        gate["met"], gate["reasons"] = map(list, zip(*conditions, strict=True))
        gate["passed"] = gate["passed"] and limit["within"]
    return gate


def headline_of(
    evaluation: Mapping[str, Any],
    registration: Mapping[str, Any] | None,
    check: Mapping[str, Any] | None,
) -> Headline:
    """The headline from the summaries of evaluation, registry and deployment check, if any."""
    scores, majority = evaluation["scores"], evaluation["majority_class"]
    numbers = (
        f"Accuracy {score(scores['accuracy']['value'])} and macro-F1 "
        f"{score(scores['macro_f1']['value'])} on {count(evaluation['rows'])} unseen reviews "
        f"(always answering “{majority['name']}” would score {score(majority['rate'])} and "
        f"{score(evaluation['majority_scores']['macro_f1'])})"
    )
    if not evaluation["gate"]["passed"]:
        why = evaluation["gate"]["reasons"][0].rstrip(".")
        sentence = f"{why}, so nothing was registered. {numbers}."
        return Headline("stopped", "Not registered", sentence)
    if registration is None:
        sentence = f"{numbers}: good enough to be registered."
        return Headline("good", "Passed the gate", sentence)
    version = f"Version {registration.get('version', '?')}"
    if check is not None:
        sentence = (
            f"{numbers}; a real model server ({check['engine']}) gave {check['labels_equal']} of "
            f"{check['reviews_asked']} reviews the label that evaluation gave."
        )
        return Headline("good", f"{version} is champion", sentence)
    if registration.get("approval") == "approved":
        sentence = f"{numbers}; the deployment check did not run."
        return Headline("waiting", f"{version} is registered", sentence)
    name, number = registration.get("model_name", MODEL_NAME), registration.get("version", "?")
    sentence = f"{numbers}; “{make_command('approve', name, VERSION=number)}” makes it champion."
    return Headline("waiting", f"{version} waits for approval", sentence)
