"""Why an object is as it is: its conditions, events, and the last lines of failed pods."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, CoreV1Api, CoreV1Event, V1ContainerStatus, V1Pod

_EVENTS, _PODS, _LINES = 5, 3, 15
_TOLD_WHEN_TRUE = frozenset({"Failed", "Suspended"})
"""Conditions that are bad news when they hold; the others are when they do not."""


def explain(
    client: "ApiClient",
    namespace: str,
    name: str,
    found: dict[str, Any] | None,
    pods: str,
    timeout: tuple[float, float],
) -> str:
    """Say in words what the cluster knows of an object's state. Never raises.

    Args:
        client: Of the cluster's API.
        namespace: Of the object.
        name: Of the object.
        found: The object; None where there is none.
        pods: Label selector of its pods; empty leaves them out.
        timeout: Seconds to connect and to wait for an answer.

    Returns:
        Sentences separated by semicolons.
    """
    if found is None:
        return f"{name} does not exist"
    from kubernetes.client import CoreV1Api

    core = CoreV1Api(client)
    parts = list(conditions(found))
    failed: list[V1Pod] = []
    if pods:

        def look() -> list[str]:
            listed = pods_of(core, namespace, pods, timeout)
            failed.extend([pod for pod in listed if any(_broken(pod))][:_PODS])
            homeless = [(pod, unschedulable(pod)) for pod in listed]
            said = [f"pod {pod.metadata.name} finds no node: {why}" for pod, why in homeless if why]
            return said[:_PODS] if listed else ["it has no pods"]

        parts += _or_why_not("its pods", look)

    def recent() -> list[str]:
        told = [
            f"event {event.reason} of {event.involved_object.name}: {(event.message or '').strip()}"
            for event in warnings_about(core, namespace, name, timeout)
        ]
        return list(dict.fromkeys(told))[-_EVENTS:]

    parts += _or_why_not("its events", recent)
    for pod in failed:
        for status in _broken(pod):
            parts += _or_why_not(
                f"the log of pod {pod.metadata.name}",
                partial(_last_lines, core, pod, status, timeout),
            )
    return "; ".join(parts) or "it has neither conditions nor events yet"


def conditions(found: dict[str, Any]) -> Iterator[str]:
    """Those of an object's conditions that are bad news, in words."""
    for condition in (found.get("status") or {}).get("conditions") or []:
        kind, holds = condition.get("type"), condition.get("status") == "True"
        if holds == (kind in _TOLD_WHEN_TRUE):
            why = [condition.get("reason"), condition.get("message")]
            said = ": ".join(str(word).strip() for word in why if word)
            yield f"{kind} is {condition.get('status')}" + (f" ({said})" if said else "")


def pods_of(
    core: "CoreV1Api", namespace: str, selector: str, timeout: tuple[float, float]
) -> "list[V1Pod]":
    """The pods that a label selector chooses."""
    found = core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=timeout)
    return list(found.items)


def warnings_about(
    core: "CoreV1Api", namespace: str, name: str, timeout: tuple[float, float]
) -> "list[CoreV1Event]":
    """Warnings about an object and what it made, oldest first.

    What controllers make of an object (jobs, pods) bears its name with a hyphen and more behind.
    """
    found = core.list_namespaced_event(
        namespace, field_selector="type=Warning", _request_timeout=timeout
    ).items
    about = [e for e in found if f"{e.involved_object.name or ''}-".startswith(f"{name}-")]
    return sorted(about, key=lambda event: last_seen(event) or datetime.min.replace(tzinfo=UTC))


def last_seen(event: "CoreV1Event") -> datetime | None:
    """When an event was last observed; None where it does not say."""
    series = event.series.last_observed_time if event.series else None
    return series or event.last_timestamp or event.event_time


def unschedulable(pod: "V1Pod") -> str:
    """Why the scheduler finds no node for a pod; empty where it has one."""
    for condition in (pod.status and pod.status.conditions) or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return (condition.message or condition.reason or "it does not say why").strip()
    return ""


def waiting(pod: "V1Pod") -> "Iterator[V1ContainerStatus]":
    """Containers of a pod that wait for something other than their turn."""
    for container in _containers(pod):
        waits = container.state and container.state.waiting
        if waits and waits.reason not in (None, "ContainerCreating", "PodInitializing"):
            yield container


def _containers(pod: "V1Pod") -> "list[V1ContainerStatus]":
    status = pod.status
    if status is None:
        return []
    return [*(status.init_container_statuses or []), *(status.container_statuses or [])]


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


def _broken(pod: "V1Pod") -> "Iterator[V1ContainerStatus]":
    """Containers of a pod that failed or cannot start."""
    waits = {container.name for container in waiting(pod)}
    for container in _containers(pod):
        ends = [container.state, container.last_state]
        failed = any(s and s.terminated and s.terminated.exit_code for s in ends)
        if failed or container.name in waits:
            yield container


def _last_lines(
    core: "CoreV1Api", pod: "V1Pod", status: "V1ContainerStatus", timeout: tuple[float, float]
) -> list[str]:
    """What a failed container printed last, and how it stands."""
    name, waits = pod.metadata.name, status.state.waiting if status.state else None
    stands = f" is {waits.reason}" if waits else " failed"
    said = f"container {status.name} of pod {name}{stands}"
    ended_before = bool(status.last_state and status.last_state.terminated)
    if waits is not None and not ended_before:
        return [f"{said}: {(waits.message or '').strip()}".rstrip(": ")]
    log = core.read_namespaced_pod_log(
        name,
        pod.metadata.namespace,
        container=status.name,
        tail_lines=_LINES,
        previous=waits is not None,
        _request_timeout=timeout,
    )
    lines = " | ".join(line.strip() for line in log.strip().splitlines()[-_LINES:])
    return [f"{said}, its last lines: {lines or 'none'}"]
