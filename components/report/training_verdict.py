"""The headline of a training run: what became of the model, and why."""

from collections.abc import Mapping
from typing import Any

from components.report.formats import count, score
from components.report.page import Headline


def headline_of(
    evaluation: Mapping[str, Any],
    registration: Mapping[str, Any] | None,
    deployment_check: Mapping[str, Any] | None,
) -> Headline:
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
        return Headline(
            "stopped", "Not registered", f"{why}, so nothing was registered. {numbers} {baseline}."
        )
    if registration is None:
        return Headline(
            "good",
            "Passed the gate",
            f"{numbers} {baseline}: good enough to be registered.",
        )
    version = registration.get("version", "?")
    if deployment_check is not None:
        return Headline(
            "good",
            f"Version {version} is champion",
            f"{numbers} {baseline}; a real model server ({deployment_check['engine']}) gave "
            f"{deployment_check['labels_equal']} of {deployment_check['reviews_asked']} reviews "
            "the label that evaluation gave.",
        )
    if registration.get("approval") == "approved":
        return Headline(
            "waiting",
            f"Version {version} is registered",
            f"{numbers} {baseline}; the deployment check did not run.",
        )
    return Headline(
        "waiting",
        f"Version {version} waits for approval",
        f"{numbers} {baseline}; “make approve VERSION={version}” makes it champion.",
    )
