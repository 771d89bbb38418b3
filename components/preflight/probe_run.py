"""Starts probe pods, waits for them, and removes them, whatever happens."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from components.preflight.api import Api
from components.shared.kubernetes.refusals import Conflict, Request, Resource, refused
from components.shared.machine.errors import UserError

_PODS = Resource("", "v1", "pods", "Pod")
_LOOK_EVERY_SECONDS = 1.0

_HOPELESS = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons to wait that time alone does not end."""

# What admission refuses is told after these words; what the user may not do begins with the user.
_NOT_ADMITTED = re.compile(r"is forbidden: (?!User )(.*)", re.DOTALL)
_NOT_ALLOWED = re.compile(r'User "[^"]+" cannot ')


@dataclass(frozen=True)
class Outcome:
    """How a pod ended.

    Attributes:
        log: What it printed; None where it did not run or its log may not be read.
        amiss: Why it did not run to its end; empty where it did.
        kind: `forbidden` (to the user), `refused` (by admission), `image`, `unschedulable`,
            `configuration`, `slow`, `died`, or empty.
    """

    log: str | None
    amiss: str = ""
    kind: str = ""


def run_pods(
    api: Api,
    manifests: Mapping[str, dict[str, Any]],
    deadline_seconds: float,
    tell: Callable[[str], None] = lambda told: None,
) -> tuple[dict[str, Outcome], list[str]]:
    """Create pods, wait until each has ended or cannot, and delete them.

    They are deleted also when this is interrupted, and where the answer to their creation was lost.

    Args:
        api: The cluster.
        manifests: Pods by a name of the caller's.
        deadline_seconds: After which a pod is given up.
        tell: Told what is waited for, whenever that changes, and what was left behind.

    Returns:
        How each ended, and the names of pods that could not be deleted.
    """
    outcomes: dict[str, Outcome] = {}
    try:
        for key, manifest in manifests.items():
            if refusal := _create(api, manifest):
                outcomes[key] = refusal
        until = api.retry_policy.clock() + deadline_seconds
        last_told = ""
        while waiting := [key for key in manifests if key not in outcomes]:
            late = api.retry_policy.clock() >= until
            stand = []
            for key in waiting:
                outcome, why = _look(api, manifests[key]["metadata"]["name"], late)
                if outcome:
                    outcomes[key] = outcome
                else:
                    stand.append(f"{key}: {why}")
            told = "; ".join(stand)
            if told and told != last_told:
                tell(f"waiting for {told}")
                last_told = told
            if stand:
                api.retry_policy.sleep(_LOOK_EVERY_SECONDS)
    finally:
        left = [
            manifest["metadata"]["name"]
            for key, manifest in manifests.items()
            if not _was_refused(outcomes.get(key))
            and not _delete(api, manifest["metadata"]["name"])
        ]
        for pod in left:
            tell(f"pod {pod} could not be deleted")
    return outcomes, left


def _was_refused(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.kind in ("refused", "forbidden")


def _create(api: Api, manifest: dict[str, Any]) -> Outcome | None:
    """Why the pod was refused; None where it was created."""
    name = manifest["metadata"]["name"]
    try:
        answer = api.ask("POST", api.of_namespace("pods"), body=manifest)
    except Conflict:
        return None  # the answer to the first attempt was lost: the name is ours alone
    except UserError as error:
        return Outcome(None, str(error), "died")  # it may be there all the same
    if answer.good:
        return None
    not_admitted = _NOT_ADMITTED.search(answer.message)
    if not_admitted and "exceeded quota" not in not_admitted[1]:
        return Outcome(None, not_admitted[1].strip(), "refused")
    request = Request("create", _PODS, api.namespace, name, api.host)
    told = str(refused(SimpleNamespace(status=answer.status, body=answer.text, reason=""), request))
    by_user = _NOT_ALLOWED.search(answer.message)
    return Outcome(None, told, "forbidden" if by_user else "refused")


def _delete(api: Api, name: str) -> bool:
    """Whether the pod is gone, or going."""
    try:
        return api.ask("DELETE", api.of_namespace("pods", name)).status in (200, 202, 404)
    except (UserError, Conflict):
        return False


def _look(api: Api, name: str, late: bool) -> tuple[Outcome | None, str]:
    """The outcome of a pod, or None and what it waits for."""
    try:
        answer = api.get(api.of_namespace("pods", name))
        if answer.good:
            return _judge(api, name, answer.found.get("status") or {}, late)
    except UserError as error:
        return Outcome(None, str(error), "died"), ""
    told = "someone deleted it" if answer.status == 404 else "you may not read its state"
    return Outcome(None, told, "died"), ""


def _judge(
    api: Api, name: str, status: Mapping[str, Any], late: bool
) -> tuple[Outcome | None, str]:
    """As `_look`, of the pod's status."""
    phase = status.get("phase")
    containers = status.get("containerStatuses") or []
    if phase in ("Succeeded", "Failed"):
        if status.get("reason") == "DeadlineExceeded":
            return Outcome(None, "it did not run to its end in time", "slow"), ""
        return _ended(api, name, status), ""
    state = (containers[0].get("state") or {}) if containers else {}
    waits = state.get("waiting") or {}
    reason, message = waits.get("reason") or "", str(waits.get("message") or "").strip()
    if reason in _HOPELESS:
        kind = "image" if "Image" in reason else "configuration"
        return Outcome(None, f"{reason}: {message}".rstrip(": "), kind), ""
    scheduled = _scheduled(status)
    if late:
        if scheduled:
            return Outcome(None, scheduled, "unschedulable"), ""
        what = f"{reason or phase or 'Pending'} {message}".strip()
        return Outcome(None, f"it did not run to its end in time ({what})", "slow"), ""
    running = "running" if "running" in state else ""
    return None, scheduled or running or message or reason or "starting"


def _scheduled(status: Mapping[str, Any]) -> str:
    """Why no node takes the pod; empty where one did."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason") or "not scheduled")
    return ""


def _ended(api: Api, name: str, status: Mapping[str, Any]) -> Outcome:
    answer = api.get(api.of_namespace("pods", name) + "/log", tailLines="50")
    ended = [
        (container.get("state") or {}).get("terminated") or {}
        for container in status.get("containerStatuses") or []
    ]
    if answer.good and answer.text.strip():
        return Outcome(answer.text)
    code = ended[0].get("exitCode") if ended else None
    if code == 0:
        return Outcome(None)
    said = (ended[0].get("message") or ended[0].get("reason")) if ended else status.get("message")
    return Outcome(None, f"it ended with code {code} ({said or status.get('reason')})", "died")
