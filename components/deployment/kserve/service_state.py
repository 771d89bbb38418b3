"""Who serves what on an InferenceService: the annotations of a rollout, and the state they tell."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from components.shared.machine.errors import UserError

VERSION_ANNOTATION = "review-sentiment/model-version"
"""Version that gets the traffic that no canary gets."""

DIGEST_ANNOTATION = "review-sentiment/model-digest"
"""SHA-256 of its weights."""

CANARY_ANNOTATION = "review-sentiment/canary-version"
"""Version that is being tried."""

CANARY_DIGEST_ANNOTATION = "review-sentiment/canary-digest"
"""SHA-256 of its weights."""

AFTER_REVISION_ANNOTATION = "review-sentiment/canary-after-revision"
"""Knative: newest revision before the canary's, by which the canary's own is told."""

EVIDENCE_ANNOTATION = "review-sentiment/stable-evidence"
"""JSON: what was seen of the stable version in the last step, for the step that leaves it idle."""

REJECTED_ANNOTATION = "review-sentiment/rejected-version"
"""Last version that was tried and rolled back."""

REJECTED_BECAUSE_ANNOTATION = "review-sentiment/rejected-because"
"""Why, in one sentence."""

FIRST_ANNOTATION = "review-sentiment/first-deployment"
"""There until the very first version of the service has become ready."""

SHADOW_ANNOTATION = "review-sentiment/shadow"
"""`true`: a canary at 0 percent gets a copy of each request, where something mirrors traffic."""

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
"""KServe's own: the deployment mode."""

Mode = Literal["Knative", "Standard"]

_OLD_MODES = {"Serverless": "Knative", "RawDeployment": "Standard"}


@dataclass(frozen=True)
class ServiceState:
    """Who serves what, as the object says it should be.

    Attributes:
        mode: KServe's deployment mode.
        stable: Version that gets the traffic that no canary gets.
        canary: Version that is being tried; None where none is.
        percent: The canary's share of the traffic.
        rejected: Last version that was rolled back; None where none was.
        rejected_because: Why.
        first: Whether no version has been ready yet.
        evidence: What was seen of the stable version in the last step.
    """

    mode: Mode
    stable: str
    canary: str | None = None
    percent: int = 0
    rejected: str | None = None
    rejected_because: str = ""
    first: bool = False
    evidence: Mapping[str, Any] = field(default_factory=dict)


def state_of(service: Mapping[str, Any]) -> ServiceState:
    """Read an InferenceService's state from its spec and annotations.

    What a version's pods are told (`MODEL_VERSION`) counts, as far as the spec holds it: in
    Knative mode the stable version beside a canary is known from the annotation only.

    Raises:
        UserError: If the service was not made by this project, or has several canaries.
    """
    name, annotations = service["metadata"]["name"], annotations_of(service)
    mode = annotations.get(MODE_ANNOTATION, "")
    mode = _OLD_MODES.get(mode, mode)
    predictor = service["spec"]["predictor"]
    latest = _version_of(predictor, name)
    canary, percent, stable = None, 0, latest
    rejected = annotations.get(REJECTED_ANNOTATION)
    if mode == "Knative":
        share = predictor.get("canaryTrafficPercent")
        if share is not None:
            stable = annotations.get(VERSION_ANNOTATION, "")
            # Rolled back, the rejected version stays in the spec at 0 percent.
            if not (share == 0 and rejected == latest):
                canary, percent = latest, int(share)
    elif mode == "Standard":
        tried = service["spec"].get("canary") or []
        if len(tried) > 1:
            raise UserError(
                f"service {name} has {len(tried)} canaries, of which a rollout understands one; "
                "remove the others"
            )
        for one in tried:
            canary, percent = _version_of(one["predictor"], name), int(one["trafficPercent"])
    else:
        raise UserError(
            f"service {name} does not say its deployment mode; "
            f"annotate it with {MODE_ANNOTATION}=Standard or =Knative"
        )
    return ServiceState(
        mode=mode,
        stable=stable,
        canary=canary,
        percent=percent,
        rejected=rejected,
        rejected_because=annotations.get(REJECTED_BECAUSE_ANNOTATION, ""),
        first=FIRST_ANNOTATION in annotations,
        evidence=_evidence(annotations.get(EVIDENCE_ANNOTATION, "")),
    )


def annotations_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The object's own annotations."""
    return service["metadata"].get("annotations") or {}


def _version_of(predictor: Mapping[str, Any], name: str) -> str:
    """The version that a predictor's pods are told."""
    for variable in (predictor.get("model") or {}).get("env") or []:
        if variable.get("name") == "MODEL_VERSION" and variable.get("value"):
            return str(variable["value"])
    raise UserError(
        f"service {name} does not say which model version it serves (MODEL_VERSION); it was not "
        "made by this project: delete it, or roll out under another name"
    )


def _evidence(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
