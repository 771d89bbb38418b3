"""Why an object is as it is: its conditions, events, and the last lines of failed pods."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, V1ContainerStatus, V1Pod

_EVENTS, _PODS, _LINES = 5, 3, 15


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
            listed = core.list_namespaced_pod(
                namespace, label_selector=pods, _request_timeout=timeout
            ).items
            failed.extend([pod for pod in listed if any(_broken(pod))][:_PODS])
            return [] if listed else ["it has no pods"]

        parts += _or_why_not("its pods", look)
    names = [name, *(pod.metadata.name for pod in failed)]
    parts += _or_why_not("its events", lambda: list(_warnings(core, namespace, names, timeout)))
    for pod in failed:
        for status in _broken(pod):
            parts += _or_why_not(
                f"the log of pod {pod.metadata.name}",
                lambda pod=pod, status=status: _last_lines(core, pod, status, timeout),
            )
    return "; ".join(parts) or "it has neither conditions nor events yet"


def conditions(found: dict[str, Any]) -> Iterator[str]:
    """Those of an object's conditions that do not hold, in words."""
    for condition in (found.get("status") or {}).get("conditions") or []:
        if condition.get("status") != "True":
            why = [condition.get("reason"), condition.get("message")]
            said = ": ".join(str(word).strip() for word in why if word)
            yield f"{condition.get('type')} is {condition.get('status')}" + (
                f" ({said})" if said else ""
            )


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


def _warnings(
    core: Any, namespace: str, names: list[str], timeout: tuple[float, float]
) -> Iterator[str]:
    """Last warnings about the object and its failed pods."""
    for name in names:
        events = core.list_namespaced_event(
            namespace,
            field_selector=f"involvedObject.name={name},type=Warning",
            _request_timeout=timeout,
        ).items
        for event in events[-_EVENTS:]:
            yield f"event {event.reason} of {name}: {(event.message or '').strip()}"


def _broken(pod: "V1Pod") -> "Iterator[V1ContainerStatus]":
    """Containers of a pod that failed or cannot start."""
    status = pod.status
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        ends = [container.state, container.last_state]
        if any(state and state.terminated and state.terminated.exit_code for state in ends) or (
            container.state
            and container.state.waiting
            and container.state.waiting.reason not in (None, "ContainerCreating", "PodInitializing")
        ):
            yield container


def _last_lines(
    core: Any, pod: "V1Pod", status: "V1ContainerStatus", timeout: tuple[float, float]
) -> list[str]:
    """What a failed container printed last, and how it stands."""
    name, waiting = pod.metadata.name, status.state.waiting if status.state else None
    stands = f" is {waiting.reason}" if waiting else " failed"
    said = [f"container {status.name} of pod {name}{stands}"]
    ended_before = bool(status.last_state and status.last_state.terminated)
    never_ran = waiting is not None and not ended_before
    if never_ran:
        return [f"{said[0]}: {(waiting.message or '').strip()}".rstrip(": ")]
    log = core.read_namespaced_pod_log(
        name,
        pod.metadata.namespace,
        container=status.name,
        tail_lines=_LINES,
        previous=waiting is not None,
        _request_timeout=timeout,
    )
    lines = " | ".join(line.strip() for line in log.strip().splitlines()[-_LINES:])
    return [f"{said[0]}, its last lines: {lines or 'none'}"]
