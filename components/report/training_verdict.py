"""The one sentence that a reader wants first: was the model deployed, and why or why not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.report.formats import count, score


@dataclass(frozen=True)
class Verdict:
    """What became of the model.

    Attributes:
        state: `good`, `waiting` or `stopped`: the colour of the headline.
        title: A few words.
        sentence: One sentence with the numbers.
    """

    state: str
    title: str
    sentence: str


def verdict_of(
    evaluation: Mapping[str, Any],
    registration: Mapping[str, Any] | None,
    deployment_check: Mapping[str, Any] | None,
) -> Verdict:
    """The headline of a run.

    Args:
        evaluation: The evaluation summary.
        registration: What the registry wrote, if it came to that.
        deployment_check: What the deployment check wrote, if it came to that.
    """
    gate = evaluation["gate"]
    scores = evaluation["scores"]
    numbers = (
        f"Accuracy {score(scores['accuracy']['value'])} and macro-F1 "
        f"{score(scores['macro_f1']['value'])} on {count(evaluation['rows'])} unseen reviews"
    )
    majority = evaluation["majority_class"]
    baseline = (
        f"(always answering “{majority['name']}” would score {score(majority['rate'])} and "
        f"{score(evaluation['majority_scores']['macro_f1'])})"
    )
    if not gate["passed"]:
        why = gate["reasons"][0].rstrip(".")
        return Verdict(
            "stopped", "Not deployed", f"{why}, so nothing was registered. {numbers} {baseline}."
        )
    if registration is None:
        return Verdict(
            "good",
            "Passed the gate",
            f"{numbers} {baseline}: good enough to be registered and deployed.",
        )
    version = registration.get("version", "?")
    if deployment_check is not None:
        return Verdict(
            "good",
            f"Deployed as version {version}",
            f"{numbers} {baseline}; a real model server ({deployment_check['engine']}) gave "
            f"{deployment_check['labels_equal']} of {deployment_check['reviews_asked']} reviews "
            "the label that evaluation gave.",
        )
    if registration.get("approval") == "approved":
        return Verdict(
            "waiting",
            f"Registered as version {version}, not deployed",
            f"{numbers} {baseline}; the deployment check did not run.",
        )
    return Verdict(
        "waiting",
        f"Version {version} waits for approval",
        f"{numbers} {baseline}; “make approve VERSION={version}” deploys it.",
    )
