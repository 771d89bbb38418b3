"""Run an object to its end: create or adopt it, follow it, and leave nothing behind."""

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from components.shared.kubernetes.diagnosis import StartWatch
from components.shared.kubernetes.objects import Objects, contains
from components.shared.kubernetes.refusals import Conflict, Gone, Resource
from components.shared.machine.errors import UserError

logger = logging.getLogger(__name__)

_GOING_SECONDS = 300.0
"""How long an object of the name that is being deleted may take to go."""

_REMOVAL_SECONDS = 15.0
"""How long to ask again for the deletion. A cancelled step of Kubeflow Pipelines has about a
second, because its launcher ends at once; one that is run otherwise may have longer."""

_LOOK_SECONDS = 25.0
"""Pause between two looks at the pods; the watch gives the occasion every half a minute."""


def permissions(resource: Resource) -> dict[tuple[str, str], tuple[str, ...]]:
    """Verbs that `run_to_end` needs for objects of a kind, by API group and resource."""
    return {
        (resource.group, resource.plural): ("create", "delete", "get", "watch"),
        ("", "events"): ("list",),
        ("", "pods"): ("list",),
        ("", "pods/log"): ("get",),
    }


def condition(found: dict[str, Any], kind: str) -> bool:
    """Whether an object's status has a condition of this type, e.g. `Succeeded`, that is True."""
    conditions = (found.get("status") or {}).get("conditions") or []
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def run_to_end(
    objects: Objects,
    manifest: dict[str, Any],
    outcome: Callable[[dict[str, Any]], bool | None],
    *,
    deadline_seconds: float,
    on_change: Callable[[dict[str, Any]], None] = lambda found: None,
    keep: bool = False,
    stuck_seconds: float = 7200.0,
) -> dict[str, Any]:
    """Create an object, or adopt the one that an earlier try made, and follow it to its end.

    When a run is terminated, Argo sends SIGTERM to all processes of the step's container. KFP's
    launcher dies of it at once, and about a second later the container ends, with all that is left
    in it (the process group gets the signal: argoexec's `emissary.go` and `signal_linux.go`). So
    the deletion after a signal is one request, without reading first.

    The object is deleted, with what it owns, whatever ends this function except a success with
    `keep`; also one that was adopted, for it is the same unit of work. An object of the same name
    with other content is never touched.

    Args:
        objects: The namespace's objects of the kind, with the selector of their pods.
        manifest: The object. A retried step has to make the same one to find it again, so its name
            comes from the run; its ownerReferences should name the run's Workflow (`own_run`), for
            a process that is killed before it can delete.
        outcome: What an object has come to: True succeeded, False failed, None neither yet. Asked
            at the start, at each change, and at least every `objects.WINDOW_SECONDS`.
        deadline_seconds: How long it may take, counted anew for an adopted one.
        on_change: Called with the object at the start and whenever it changed.
        keep: Leave an object that succeeded in the cluster; the Workflow takes it along later.
        stuck_seconds: How long no pod of it may run because nodes, GPUs or quota are taken. What
            cannot pass by itself, as an image that does not exist, ends it after some minutes. Each
            obstacle is logged once, when it comes up.

    Returns:
        The object as it was when it had succeeded.

    Raises:
        UserError: If there is another object of that name; if it fails, is deleted by someone or
            does not end in time, with its conditions, events and the failed pods' last lines; if
            the cluster refuses or cannot be reached.
        SystemExit: With code 143 on SIGTERM, after the deletion.
        KeyboardInterrupt: After the deletion.
    """
    name = manifest["metadata"]["name"]
    with _interruptible() as ignore_signals:
        uid = ""
        try:
            uid = _launch(objects, manifest)["metadata"]["uid"]
            found = _follow(objects, name, outcome, deadline_seconds, on_change, stuck_seconds)
        except BaseException:
            ignore_signals()
            _remove(objects, manifest, uid)
            raise
        if not keep:
            _remove(objects, manifest, uid)
        return found


def _follow(
    objects: Objects,
    name: str,
    outcome: Callable[[dict[str, Any]], bool | None],
    deadline_seconds: float,
    on_change: Callable[[dict[str, Any]], None],
    stuck_seconds: float,
) -> dict[str, Any]:
    from kubernetes.client import CoreV1Api

    kind, clock = objects.resource.kind, objects.retry_policy.clock
    selector = objects.pods.format(name=name)
    pods = StartWatch(CoreV1Api(objects.client), objects.namespace, name, selector, stuck_seconds)
    version, looked = "", clock()
    for found in objects.watch(name, deadline_seconds):
        if found["metadata"].get("deletionTimestamp"):
            raise Gone(f"{kind} {name} in namespace {objects.namespace} was deleted by someone")
        if found["metadata"]["resourceVersion"] != version:
            version = found["metadata"]["resourceVersion"]
            on_change(found)
        ended = outcome(found)
        if ended:
            return found
        if ended is not None:
            raise UserError(f"{kind} {name} failed: {objects.explain(name)}")
        if selector and clock() - looked >= _LOOK_SECONDS:
            looked = clock()
            pods.look(looked)
    late = f"did not end within {deadline_seconds:.0f} s"
    raise UserError(f"{kind} {name} {late}: {objects.explain(name)}")


def _launch(objects: Objects, manifest: dict[str, Any]) -> dict[str, Any]:
    name, resource = manifest["metadata"]["name"], objects.resource
    there = objects.read(name)
    if there is not None and there["metadata"].get("deletionTimestamp"):
        objects.wait_until_gone(name, _GOING_SECONDS)
    try:
        return objects.create_or_adopt(manifest)
    except Conflict:
        raise UserError(
            f"there is another {resource.kind} {name} in namespace {objects.namespace} than this "
            f"step makes; if it is a leftover: {_removal(objects, name)}"
        ) from None


def _remove(objects: Objects, manifest: dict[str, Any], uid: str) -> None:
    """Delete the object if it is ours. Never raises: the reason to delete matters more.

    Its uid is empty where it is not known whether it was created.
    """
    name, resource = manifest["metadata"]["name"], objects.resource
    policy = replace(objects.retry_policy, seconds=_REMOVAL_SECONDS)
    hurried = replace(objects, retry_policy=policy)
    try:
        if not uid:
            found = hurried.read(name)
            if found is None or not contains(found, manifest):
                return
            uid = found["metadata"]["uid"]
        hurried.delete(name, uid=uid, foreground=True)
    except Conflict:
        # Another object has taken the name; ours is gone.
        return
    except UserError as error:
        text = "%s %s may be left behind (%s); remove it: %s"
        logger.error(text, resource.kind, name, error, _removal(objects, name))


def _removal(objects: Objects, name: str) -> str:
    return f"kubectl delete {objects.resource.in_full} {name} --namespace {objects.namespace}"


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """Let SIGTERM raise SystemExit; yields a function that ignores SIGTERM and SIGINT from then on.

    Python's own answer to SIGTERM is to end at once, without `finally`. Signals are the main
    thread's alone; elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def ignore_signals() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield ignore_signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
