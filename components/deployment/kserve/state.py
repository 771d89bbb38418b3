"""An InferenceService as it is: its annotations, who serves what, and how far the cluster is.

The rules on a status follow KServe 0.21's controller (components/predictor.go, PropagateStatus and
applyCanaryWeights). `status.observedGeneration` is of no use: it is that of the Knative Service or
of the Deployment, not of the InferenceService.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from components.deployment.service import ServiceState
from components.shared.machine.errors import UserError

# What a rollout notes on the object. Services that older versions rolled out bear the same names.
VERSION_ANNOTATION = "review-sentiment/model-version"  # gets the traffic that no canary gets
DIGEST_ANNOTATION = "review-sentiment/model-digest"  # of the list of its files
CANARY_ANNOTATION = "review-sentiment/canary-version"  # is being tried
CANARY_DIGEST_ANNOTATION = "review-sentiment/canary-digest"  # of the list of its files
# Knative: newest revision before the canary's, by which the canary's own is recognised.
AFTER_REVISION_ANNOTATION = "review-sentiment/canary-after-revision"
# JSON: what the step before saw of the stable version, for the step that leaves it idle.
EVIDENCE_ANNOTATION = "review-sentiment/stable-evidence"
REJECTED_ANNOTATION = "review-sentiment/rejected-version"  # was tried and rolled back last
REJECTED_BECAUSE_ANNOTATION = "review-sentiment/rejected-because"  # one sentence
FIRST_ANNOTATION = "review-sentiment/first-deployment"  # until the first version is ready
# `true`: a canary at 0 percent gets a copy of each request, where something mirrors traffic.
SHADOW_ANNOTATION = "review-sentiment/shadow"
MODE_ANNOTATION = "serving.kserve.io/deploymentMode"  # KServe's own
AUTOSCALER_ANNOTATION = "serving.kserve.io/autoscalerClass"  # KServe's own

OF_A_CANARY = (
    CANARY_ANNOTATION,
    CANARY_DIGEST_ANNOTATION,
    AFTER_REVISION_ANNOTATION,
    EVIDENCE_ANNOTATION,
    SHADOW_ANNOTATION,
)
"""Gone with the canary."""

KEPT_ON_THE_SERVICE = (
    *OF_A_CANARY,
    REJECTED_ANNOTATION,
    REJECTED_BECAUSE_ANNOTATION,
    FIRST_ANNOTATION,
)
"""Must never reach a pod."""

Mode = Literal["Knative", "Standard"]


def mode_of(service: Mapping[str, Any]) -> Mode:
    """KServe's deployment mode of a service, by its name today.

    Raises:
        UserError: If the service does not say it.
    """
    name = annotations_of(service).get(MODE_ANNOTATION, "")
    mode = {"Serverless": "Knative", "RawDeployment": "Standard"}.get(name, name)
    if mode == "Knative" or mode == "Standard":
        return mode
    raise UserError(
        f"service {service['metadata']['name']} does not say its deployment mode; "
        f"annotate it with {MODE_ANNOTATION}=Standard or =Knative"
    )


def state_of(service: Mapping[str, Any]) -> ServiceState:
    """Read an InferenceService's state from its spec and annotations.

    What a version's pods are given as `MODEL_VERSION` counts, as far as the spec holds it: in
    Knative mode the stable version beside a canary is known from the annotation only.

    Raises:
        UserError: If the service was not made by this project, or has several canaries.
    """
    name, annotations = service["metadata"]["name"], annotations_of(service)
    predictor, tried = service["spec"]["predictor"], service["spec"].get("canary") or []
    latest = _version_of(predictor, name)
    canary, percent, stable = None, 0, latest
    rejected = annotations.get(REJECTED_ANNOTATION)
    if FIRST_ANNOTATION in annotations:
        canary, percent, stable = latest, 100, ""
    elif mode_of(service) == "Knative":
        share = predictor.get("canaryTrafficPercent")
        if share is not None:
            stable = annotations.get(VERSION_ANNOTATION, "")
            # Rolled back, the rejected version stays in the spec at 0 percent.
            if not (share == 0 and rejected == latest):
                canary, percent = latest, int(share)
    elif len(tried) > 1:
        raise UserError(
            f"service {name} has {len(tried)} canaries, of which a rollout understands one; "
            "remove the others"
        )
    elif tried:
        canary = _version_of(tried[0]["predictor"], name)
        percent = int(tried[0]["trafficPercent"])
    return ServiceState(
        stable=stable,
        canary=canary,
        percent=percent,
        rejected=rejected,
        rejected_because=annotations.get(REJECTED_BECAUSE_ANNOTATION, ""),
        evidence=_evidence(annotations.get(EVIDENCE_ANNOTATION, "")),
    )


def annotations_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The object's own annotations."""
    return service["metadata"].get("annotations") or {}


def _version_of(predictor: Mapping[str, Any], name: str) -> str:
    """The version that a predictor's pods are given."""
    for variable in (predictor.get("model") or {}).get("env") or []:
        if variable.get("name") == "MODEL_VERSION" and variable.get("value"):
            return str(variable["value"])
    raise UserError(
        f"service {name} does not say which model version it serves (MODEL_VERSION); it was not "
        "made by this project: delete it, or roll out under another name"
    )


def _evidence(text: str) -> dict[str, Any]:
    try:
        evidence = json.loads(text or "{}")
    except ValueError:
        return {}
    return evidence if isinstance(evidence, dict) else {}


def pod_annotations(version: str, model_digest: str) -> dict[str, str]:
    """Annotations of one version's pods: `spec.predictor.annotations`.

    KServe copies a service's own annotations to its pods, where a change makes a new Knative
    revision or restarts a Deployment. Those of `spec.predictor` come before them (buildObjectMeta
    in KServe's components/predictor.go), so each annotation that a rollout changes has a fixed
    value here: the service's bookkeeping then never touches a pod.
    """
    return {
        VERSION_ANNOTATION: version,
        DIGEST_ANNOTATION: model_digest,
        **dict.fromkeys(KEPT_ON_THE_SERVICE, "see the InferenceService"),
    }


def canary_name(version: str) -> str:
    """Name of a version in Standard mode: part of its Deployment's and Service's name.

    `<service>-<name>-predictor` has to be a DNS label of at most 63 characters, so a version that
    is long or has other characters is named by a hash.
    """
    name = f"v{version}"
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?", name):
        return name
    return "v" + hashlib.sha256(version.encode()).hexdigest()[:8]


class NeverReady(UserError):  # noqa: N818 (what it says is what the cluster is)
    """The cluster will never do what the object says, with the reason."""


def serving_alone(service: Mapping[str, Any]) -> str:
    """Why the one version of the service is not ready with all of the traffic; '' where it is.

    It is for a first deployment that has come up and for a canary that was promoted.
    """
    status = service.get("status") or {}
    _check_valid(status)
    if mode_of(service) == "Knative":
        predictor = _predictor(status)
        newest, ready = predictor.get("latestCreatedRevision"), predictor.get("latestReadyRevision")
        if not newest or newest != ready:
            return _revision_not_ready(status, newest)
        if predictor.get("latestRolledoutRevision") != ready or _percent(predictor) != 100:
            return f"revision {ready} does not have all of the traffic"
    elif status.get("canaryStatuses"):
        return "the cluster still has a canary"
    return _not_ready(status, "Ready")


def share_in_force(service: Mapping[str, Any], version: str, percent: int) -> str:
    """Why the canary is not ready with its share of the traffic, which may be 0; '' where it is."""
    status = service.get("status") or {}
    if mode_of(service) == "Knative":
        return _revision_share(service, status, percent)
    name = canary_name(version)
    for canary in status.get("canaryStatuses") or []:
        if canary.get("name") == name:
            _check_valid(canary)
            if not canary.get("ready"):
                return f"canary {name} is not ready"
            if canary.get("trafficPercent") != percent:
                return f"canary {name} gets {canary.get('trafficPercent')} percent"
            # The split counts once the route is up, which is part of Ready.
            return _not_ready(status, "Ready")
    return f"the cluster has no canary {name} yet"


def rolled_back(service: Mapping[str, Any]) -> str:
    """Why the stable version does not get all of the traffic again; '' where it does.

    The service need not be Ready: in Knative mode it is not while the rejected version, which stays
    the newest revision, cannot start.
    """
    status = service.get("status") or {}
    if mode_of(service) == "Standard":
        return "the cluster still has a canary" if status.get("canaryStatuses") else ""
    predictor = _predictor(status)
    stable = predictor.get("latestRolledoutRevision")
    if not stable or stable == predictor.get("latestCreatedRevision"):
        return "the stable revision cannot be told from the rejected one yet"
    share = _percent(predictor, stable)
    if share != 100 or _percent(predictor) != 0:
        return f"the stable revision {stable} gets {share} percent"
    return ""


def settled(service: Mapping[str, Any]) -> str:
    """Why the stable version does not get all of the traffic, whatever came before; '' if so."""
    knative = mode_of(service) == "Knative"
    if knative and service["spec"]["predictor"].get("canaryTrafficPercent") is not None:
        return rolled_back(service)
    return serving_alone(service)


def _revision_share(service: Mapping[str, Any], status: Mapping[str, Any], percent: int) -> str:
    """Knative: the canary is the newest revision."""
    predictor = _predictor(status)
    newest = predictor.get("latestCreatedRevision")
    if not newest or newest == annotations_of(service).get(AFTER_REVISION_ANNOTATION):
        return "the canary has no revision yet"
    if newest != predictor.get("latestReadyRevision"):
        return _revision_not_ready(status, newest)
    if (share := _percent(predictor)) != percent:
        return f"revision {newest} gets {share} percent"
    if (predictor.get("latestRolledoutRevision") == newest) != (percent == 100):
        return "the stable revision cannot be told from the canary's yet"
    return _not_ready(status, "PredictorReady")


def _revision_not_ready(status: Mapping[str, Any], newest: str | None) -> str:
    """Knative: the newest revision is not ready: can it still become so?"""
    _check_valid(status)
    condition = _condition(status, "PredictorConfigurationReady")
    if newest and condition.get("status") == "False":
        raise NeverReady(f"revision {newest} cannot start: {_why(condition) or 'no reason'}")
    return f"revision {newest} is not ready" if newest else "there is no revision yet"


def _predictor(status: Mapping[str, Any]) -> Mapping[str, Any]:
    return (status.get("components") or {}).get("predictor") or {}


def _percent(predictor: Mapping[str, Any], revision: str = "") -> int:
    """Knative: share of a revision, '' for the entry that follows the newest ready one."""
    return sum(
        int(target.get("percent") or 0)
        for target in predictor.get("traffic") or []
        if (target.get("revisionName") == revision if revision else target.get("latestRevision"))
    )


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = status.get("conditions") or []
    return next((one for one in conditions if one.get("type") == kind), {})


def _not_ready(status: Mapping[str, Any], kind: str) -> str:
    condition = _condition(status, kind)
    if condition.get("status") == "True":
        return ""
    return f"{kind} is {condition.get('status', 'unknown')}: {_why(condition)}".rstrip(": ")


def _why(words: Mapping[str, Any]) -> str:
    return ": ".join(str(words[key]).strip() for key in ("reason", "message") if words.get(key))


def _check_valid(status: Mapping[str, Any]) -> None:
    """Raise `NeverReady` on KServe's own verdict that the spec can never work."""
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") == "InvalidSpec":
        why = _why(model.get("lastFailureInfo") or {})
        raise NeverReady(f"KServe refuses the service: {why or 'InvalidSpec'}")
