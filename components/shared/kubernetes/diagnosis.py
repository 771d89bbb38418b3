"""Why an object is as it is: its conditions, its events, and its pods that fail or cannot start."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, CoreV1Api, CoreV1Event, V1ContainerStatus, V1Pod

logger = logging.getLogger(__name__)

_EVENTS, _PODS, _LINES = 5, 3, 15
_BAD_WHEN_TRUE = frozenset({"Failed", "Suspended"})
"""Conditions that are bad news when they hold; the others are when they do not."""

_TIMEOUT = (5.0, 30.0)

_PERMANENT = {
    "ErrImagePull": "check its name and tag, and the registry's credentials",
    "ImagePullBackOff": "check its name and tag, and the registry's credentials",
    "InvalidImageName": "correct its name",
    "ErrImageNeverPull": "load it onto the nodes, or allow that it is pulled",
    "CreateContainerConfigError": "create the Secret or ConfigMap that it names",
    "CreateContainerError": "change what the container asks for",
}
"""Why a container waits, with the remedy. Seen so for `_GRACE_SECONDS`, it ends the wait."""

_GRACE_SECONDS = 180.0
"""A registry that is away for a moment comes back; a wrong name does not become right."""

_PASSING_RECENT = timedelta(minutes=10)
_PERMANENT_RECENT = timedelta(seconds=_GRACE_SECONDS - 30)
"""How old an event may be and still describe the present. A controller tries again at least every
minute; an event that repeats another may be held back for five. Less than the grace, so that what
went wrong only once does not count as permanent."""

_NO_NODE = (
    "pod {name} finds no node ({why}); add or free some with what it asks for, or ask for less"
)


def explain(
    client: "ApiClient", namespace: str, name: str, found: dict[str, Any] | None, pods: str
) -> str:
    """Say in words what the cluster knows of an object's state. Never raises.

    `pods` is the label selector of its pods; an empty one leaves them out.
    """
    if found is None:
        return f"{name} does not exist"
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(client)
    parts = list(conditions(found))
    failed: list[V1Pod] = []
    if pods:

        def of_pods() -> list[str]:
            listed = _pods_of(core, namespace, pods)
            failed.extend([pod for pod in listed if any(_broken(pod))][:_PODS])
            unplaced = [(pod, _unschedulable(pod)) for pod in listed]
            said = [f"pod {pod.metadata.name} finds no node: {why}" for pod, why in unplaced if why]
            return said[:_PODS] if listed else ["it has no pods"]

        parts += _or_why_not("its pods", of_pods)

    def of_events() -> list[str]:
        said = [
            f"event {event.reason} of {event.involved_object.name}: {(event.message or '').strip()}"
            for event in _warnings_about(core, namespace, name)
        ]
        return list(dict.fromkeys(said))[-_EVENTS:]

    parts += _or_why_not("its events", of_events)
    for pod in failed:
        for status in _broken(pod):
            log = f"the log of pod {pod.metadata.name}"
            parts += _or_why_not(log, partial(_last_lines, core, pod, status))
    return "; ".join(parts) or "it has neither conditions nor events yet"


def conditions(found: dict[str, Any]) -> Iterator[str]:
    """Those of an object's conditions that are bad news, in words."""
    for condition in (found.get("status") or {}).get("conditions") or []:
        kind, holds = condition.get("type"), condition.get("status") == "True"
        if holds == (kind in _BAD_WHEN_TRUE):
            why = [condition.get("reason"), condition.get("message")]
            said = ": ".join(str(word).strip() for word in why if word)
            yield f"{kind} is {condition.get('status')}" + (f" ({said})" if said else "")


@dataclass(frozen=True)
class Obstacle:
    """What keeps a pod from starting: its key is the same at each look, its words may change.

    It may pass by itself, as a node or quota may become free, unless that is ruled out.
    """

    key: str
    text: str
    may_pass: bool = True


@dataclass
class StartWatch:
    """Notices pods that cannot start while one waits for what they should bring about.

    Neither a Job nor a TrainJob fails because of them: without this, a misspelt image would cost
    the whole deadline.

    Attributes:
        selector: Label selector of the pods of the object.
        limit_seconds: How long nothing may run because of what may pass by itself.
        since: When each obstacle was first seen, while it lasts.
    """

    core: "CoreV1Api"
    namespace: str
    name: str
    selector: str
    limit_seconds: float
    since: dict[str, float] = field(default_factory=dict)

    def look(self, now: float) -> None:
        """Log what is new at this time of the clock; `UserError` for what has lasted too long.

        Pods and events that cannot be read are left out: the wait itself goes on.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            pods = _pods_of(self.core, self.namespace, self.selector)
            running = any(pod.status and pod.status.phase == "Running" for pod in pods)
            found = [obstacle for pod in pods for obstacle in _of_pod(pod)]
            seen = {pod.metadata.name for pod in pods}
            for event in _warnings_about(self.core, self.namespace, self.name):
                found += _of_event(event, seen)
        except (ApiException, HTTPError, OSError) as error:
            logger.debug("the pods of %s cannot be read: %s", self.name, error)
            return
        for obstacle in found:
            if obstacle.key not in self.since:
                logger.warning("%s waits: %s", self.name, obstacle.text)
        # While one pod runs, the others may well wait for its place.
        lasting = {o.key: o for o in found if not (running and o.may_pass)}
        keys = {o.key for o in found}
        self.since = {key: self.since.get(key, now) if key in lasting else now for key in keys}
        for key, obstacle in lasting.items():
            lasts = now - self.since[key]
            if lasts >= (self.limit_seconds if obstacle.may_pass else _GRACE_SECONDS):
                raise UserError(f"{self.name} has not started for {lasts:.0f} s: {obstacle.text}")


def _of_pod(pod: "V1Pod") -> Iterator[Obstacle]:
    name, why = pod.metadata.name, _unschedulable(pod)
    if why:
        yield Obstacle(f"node {name}", _NO_NODE.format(name=name, why=why))
    for container in _waiting(pod):
        reason = container.state.waiting.reason
        if remedy := _PERMANENT.get(reason):
            said = (container.state.waiting.message or "").strip()
            image = f"container {container.name} of pod {name} with image {container.image}"
            text = f"{image} cannot start ({reason}: {said}); {remedy}"
            yield Obstacle(f"container {container.name} {name}", text, may_pass=False)


def _of_event(event: "CoreV1Event", seen: set[str]) -> Iterator[Obstacle]:
    """What a warning says of pods that do not exist, or that the selector leaves out."""
    at, name = _last_seen(event), event.involved_object.name
    said, age = (event.message or "").strip(), datetime.now(UTC) - at if at else timedelta(0)
    if event.reason == "FailedCreate" and "exceeded quota" not in said:
        if age <= _PERMANENT_RECENT:
            text = f"{name} cannot make its pods ({said}); change what it names"
            yield Obstacle(f"create {name}", text, may_pass=False)
    elif age > _PASSING_RECENT:
        return
    elif event.reason == "FailedCreate":
        text = f"the namespace has no quota left ({said}); free some or ask for more"
        yield Obstacle(f"quota {name}", text)
    elif event.reason in ("FailedMount", "FailedAttachVolume"):
        text = f"pod {name} cannot mount a volume ({said}); create what it names"
        yield Obstacle(f"volume {name}", text)
    elif name not in seen and event.reason == "FailedScheduling":
        yield Obstacle(f"node {name}", _NO_NODE.format(name=name, why=said))
    elif name not in seen and event.reason == "Failed" and "pull image" in said:
        text = f"pod {name} cannot get an image ({said}); check its name, tag and credentials"
        yield Obstacle(f"image {name}", text)


def _pods_of(core: "CoreV1Api", namespace: str, selector: str) -> "list[V1Pod]":
    found = core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=_TIMEOUT)
    return list(found.items)


def _warnings_about(core: "CoreV1Api", namespace: str, name: str) -> "list[CoreV1Event]":
    """Warnings about an object and what was made of it (its name, a hyphen, more), oldest first."""
    found = core.list_namespaced_event(
        namespace, field_selector="type=Warning", _request_timeout=_TIMEOUT
    ).items
    about = [e for e in found if f"{e.involved_object.name or ''}-".startswith(f"{name}-")]
    return sorted(about, key=lambda event: _last_seen(event) or datetime.min.replace(tzinfo=UTC))


def _last_seen(event: "CoreV1Event") -> datetime | None:
    series = event.series.last_observed_time if event.series else None
    return series or event.last_timestamp or event.event_time


def _unschedulable(pod: "V1Pod") -> str:
    """Why the scheduler finds no node for a pod; empty where it has one."""
    for condition in (pod.status and pod.status.conditions) or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return (condition.message or condition.reason or "it does not say why").strip()
    return ""


def _containers(pod: "V1Pod") -> "list[V1ContainerStatus]":
    of, status = ("init_container_statuses", "container_statuses"), pod.status
    return [one for kind in of for one in getattr(status, kind, None) or []]


def _waiting(pod: "V1Pod") -> "Iterator[V1ContainerStatus]":
    """Containers of a pod that wait for something other than their turn."""
    for container in _containers(pod):
        waits = container.state and container.state.waiting
        if waits and waits.reason not in (None, "ContainerCreating", "PodInitializing"):
            yield container


def _broken(pod: "V1Pod") -> "Iterator[V1ContainerStatus]":
    """Containers of a pod that failed or cannot start."""
    waits = {container.name for container in _waiting(pod)}
    for container in _containers(pod):
        ends = [container.state, container.last_state]
        failed = any(s and s.terminated and s.terminated.exit_code for s in ends)
        if failed or container.name in waits:
            yield container


def _last_lines(core: "CoreV1Api", pod: "V1Pod", status: "V1ContainerStatus") -> list[str]:
    """What a failed container printed last, and its state."""
    name, waits = pod.metadata.name, status.state.waiting if status.state else None
    said = f"container {status.name} of pod {name}{f' is {waits.reason}' if waits else ' failed'}"
    if waits is not None and not (status.last_state and status.last_state.terminated):
        return [f"{said}: {(waits.message or '').strip()}".rstrip(": ")]
    log = core.read_namespaced_pod_log(
        name,
        pod.metadata.namespace,
        container=status.name,
        tail_lines=_LINES,
        previous=waits is not None,
        _request_timeout=_TIMEOUT,
    )
    lines = " | ".join(line.strip() for line in log.strip().splitlines()[-_LINES:])
    return [f"{said}, its last lines: {lines or 'none'}"]


def _or_why_not(what: str, read: Callable[[], list[str]]) -> list[str]:
    """What was read, or that it could not be."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        return read()
    except ApiException as error:
        return [f"{what} cannot be read ({error.status})"]
    except (HTTPError, OSError) as error:
        return [f"{what} cannot be read ({type(error).__name__})"]
