"""Follows a run of the preflight's pipeline and reads its findings off the logs of its pods."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.preflight.api import Api
from components.preflight.finding import Finding, failed, from_log, passed, skipped
from components.preflight.outside import APPLY
from components.shared.kubernetes import namespace_objects as names

_LOOK_EVERY_SECONDS = 2.0
ENDED = frozenset({"SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "ERROR"})
"""States of a run of Kubeflow Pipelines that do not change any more."""

_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""Reasons to wait that time alone does not end."""


@dataclass(frozen=True)
class Look:
    """One look at the pod of a step, which has no name yet where there is none.

    It says what the pod waits for or why it ended without a result, empty where it succeeded, and
    what the remedy goes by: `image`, `configuration`, `unschedulable`, `died` or nothing.
    """

    pod: str = ""
    ended: bool = False
    waits: str = "starting"
    kind: str = ""


def follow(
    api: Api,
    run_id: str,
    state_of_run: Callable[[], str],
    images: Mapping[str, str],
    deadline_seconds: float,
    say: Callable[[str], None] = lambda text: None,
) -> list[Finding]:
    """Wait until every step of the run has ended or cannot, and return what they saw.

    KFP is asked for the run's state, and the cluster for the pods that carry its id as a label;
    `images` has that of each step by the name of its finding. Whenever it changes, what is waited
    for is said.
    """
    until, said = api.retry_policy.clock() + deadline_seconds, ""
    while True:
        state, late = state_of_run(), api.retry_policy.clock() >= until
        answer = api.get(api.of_namespace("pods"), labelSelector=f"pipeline/runid={run_id}")
        over, unseen = state in ENDED or late, answer.status == 403
        if over and unseen:
            return [skipped("from inside", "you may not list the pods of the run")]
        seen = {} if unseen else images
        looks = {name: _look(answer.items, image) for name, image in seen.items()}
        waiting = [f"{name}: {look.waits}" for name, look in looks.items() if not look.ended]
        if over or (looks and not waiting):
            outcomes = [_findings(api, name, images[name], looks[name], state) for name in looks]
            return [finding for outcome in outcomes for finding in outcome]
        if waiting and (now := "; ".join(waiting)) != said:
            say(f"waiting for {now}")
            said = now
        api.retry_policy.sleep(_LOOK_EVERY_SECONDS)


def _look(pods: list[dict[str, Any]], image: str) -> Look:
    """How the pod stands whose main container has the image."""
    for pod in pods:
        containers = pod["spec"]["containers"]
        if any(one["name"] == "main" and one.get("image") == image for one in containers):
            return replace(_state(pod.get("status") or {}), pod=pod["metadata"]["name"])
    return Look()


def _state(status: Mapping[str, Any]) -> Look:
    phase = status.get("phase")
    states = [one.get("state") or {} for one in status.get("containerStatuses") or []]
    if phase == "Succeeded":
        return Look(ended=True, waits="")
    if phase == "Failed":
        ended = [state.get("terminated") or {} for state in states]
        bad = next((one for one in ended if one.get("exitCode")), {})
        why = bad.get("message") or bad.get("reason") or status.get("reason")
        text = f"it ended with code {bad.get('exitCode')} ({why})"
        return Look(ended=True, waits=text, kind="died")
    for state in states:
        waits = state.get("waiting") or {}
        reason, message = waits.get("reason") or "", str(waits.get("message") or "").strip()
        if reason in (*_IMAGE, *_CONFIGURATION):
            kind = "image" if reason in _IMAGE else "configuration"
            return Look(ended=True, waits=f"{reason}: {message}".rstrip(": "), kind=kind)
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            why = str(condition.get("message") or condition.get("reason") or "not scheduled")
            return Look(waits=why, kind="unschedulable")
    if any("running" in state for state in states):
        return Look(waits="running")
    reasons = [(state.get("waiting") or {}).get("reason") for state in states]
    return Look(waits=next(filter(None, reasons), "starting"))


def _findings(api: Api, name: str, image: str, look: Look, state: str) -> Iterator[Finding]:
    log, unseen = "", ""
    if not look.pod and state == "SUCCEEDED":
        unseen = "its pod is gone, and its log with it"
    elif look.pod and look.kind in ("", "died"):
        answer = api.get(f"{api.of_namespace('pods', look.pod)}/log", container="main")
        log = answer.text if answer.good else ""
        if answer.status == 403 and not look.waits:
            unseen = "you may not read the logs of pods"
    if unseen:
        yield from (passed(name, f"{image} runs"), skipped(f"from the {name}", unseen))
        return
    found = [replace(one, remedy=_remedy(api, one)) for one in from_log(log)]
    if look.waits:
        kind, why = look.kind or "slow", look.waits
        late = "it did not run to its end in time"
        if not look.ended and kind != "unschedulable":
            why = f"{'the run ended before it' if state in ENDED else late} ({why})"
        text = f"{image}: {' '.join(why.split())[:500]}"
        found = [one for one in found if one.name != name]
        yield failed(name, text, _remedy_of_pod(api, image, kind))
    elif not any(one.name == name for one in found):
        yield passed(name, f"{image} runs")
    yield from found


def _remedy_of_pod(api: Api, image: str, kind: str) -> str:
    return {
        "image": f"docker manifest inspect {image}   # is it there, may nodes pull it?\n"
        "make images IMAGE_REGISTRY=… IMAGE_TAG=…   # and give both here too",
        "unschedulable": "kubectl get nodes -o wide",
        "configuration": APPLY,
        "slow": "make preflight ARGS='--deadline 900'   # a first pull of a large image takes long",
    }.get(kind, f"kubectl -n {api.namespace} get events --field-selector type=Warning")


def _remedy(api: Api, finding: Finding) -> str:
    """What to do about something that failed inside."""
    if finding.state in ("passed", "skipped"):
        return ""
    ours, label = f"kubectl -n {api.namespace}", names.COMPONENT_LABEL
    pods, policies = f"{ours} get pods -l {label}=", f"{ours} get networkpolicy"
    config = f"{ours} get configmap {names.CONFIG_MAP}"
    secret = f"{ours} describe secret {names.FEATURE_STORE_SECRET}"
    return {
        "Kubernetes API": policies,
        # Among what it applies is a Job that gives the volume to our group.
        "shared volume": APPLY,
        "feature store": f"{pods}feature-store\n{secret}",
        "MLflow": f"{pods}mlflow\n{policies}",
        "MLflow's artifacts": f"{ours} logs -l {label}=mlflow --tail 20",
        "Pipelines API inside": f"kubectl get service -A | grep ml-pipeline\n{policies}",
        "Prometheus": config + " -o jsonpath='{.data.PROMETHEUS_URL}'",
        "GPU": "kubectl get pods -A -l app=nvidia-device-plugin-daemonset",
    }.get(finding.name, "")
