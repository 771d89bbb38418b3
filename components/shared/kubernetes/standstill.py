"""Pods that cannot start, noticed while one waits for what they should bring about.

Neither a Job nor a TrainJob fails because of them: without this, a misspelt image would cost the
whole deadline.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from components.shared.kubernetes.explanation import (
    last_seen,
    pods_of,
    unschedulable,
    waiting,
    warnings_about,
)
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api, CoreV1Event, V1Pod

logger = logging.getLogger(__name__)

_NOT_MENDING = {
    "ErrImagePull": "check its name and tag, and the registry's credentials",
    "ImagePullBackOff": "check its name and tag, and the registry's credentials",
    "InvalidImageName": "correct its name",
    "ErrImageNeverPull": "load it onto the nodes, or allow that it is pulled",
    "CreateContainerConfigError": "create the Secret or ConfigMap that it names",
    "CreateContainerError": "change what the container asks for",
}
"""Why a container waits, with the remedy. Seen so for `_GRACE_SECONDS`, it ends the wait."""

_GRACE_SECONDS = 180.0
"""A registry that is away for a moment mends itself; a wrong name does not."""

_MAY_MEND_RECENT = timedelta(minutes=10)
_NOT_MENDING_RECENT = timedelta(seconds=_GRACE_SECONDS - 30)
"""How old an event may be and still say what is. A controller tries again at least every minute;
an event that tells the same again may be held back for five. Less than the grace, so that what
went wrong only once is not taken for what does not mend."""

_HOMELESS = (
    "pod {name} finds no node ({why}); add or free some with what it asks for, or ask for less"
)

_TIMEOUT = (5.0, 30.0)


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from starting.

    Attributes:
        key: The same at each look for the same trouble, whose words may change.
        text: What is wrong and the remedy.
        may_mend: Whether it can pass by itself: a node or quota may become free.
    """

    key: str
    text: str
    may_mend: bool


@dataclass
class Standstill:
    """Looks at the pods of one object from time to time.

    Attributes:
        core: Kubernetes' core API.
        namespace: Of the object.
        name: Of the object.
        selector: Label selector of its pods.
        limit_seconds: How long nothing may run because of what may pass by itself, as a node or
            quota that has to become free.
        since: When each trouble was first seen, while it lasts.
    """

    core: "CoreV1Api"
    namespace: str
    name: str
    selector: str
    limit_seconds: float
    since: dict[str, float] = field(default_factory=dict)

    def look(self, now: float) -> None:
        """Log what is new, and give up what has lasted too long.

        What cannot be read is not looked at: the wait itself goes on.

        Args:
            now: Seconds of the clock that the wait goes by.

        Raises:
            UserError: If a trouble has lasted too long.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            pods = pods_of(self.core, self.namespace, self.selector, _TIMEOUT)
            running = any(pod.status and pod.status.phase == "Running" for pod in pods)
            found = [trouble for pod in pods for trouble in _of_pod(pod)]
            seen = {pod.metadata.name for pod in pods}
            for event in warnings_about(self.core, self.namespace, self.name, _TIMEOUT):
                found += _of_event(event, seen)
        except (ApiException, HTTPError, OSError) as error:
            logger.debug("the pods of %s cannot be looked at: %s", self.name, error)
            return
        for trouble in found:
            if trouble.key not in self.since:
                logger.warning("%s waits: %s", self.name, trouble.text)
        # While one pod runs, the others may well wait for its place.
        lasting = {t.key: t for t in found if not (running and t.may_mend)}
        told = {t.key for t in found}
        self.since = {key: self.since.get(key, now) if key in lasting else now for key in told}
        for key, trouble in lasting.items():
            lasts = now - self.since[key]
            if lasts >= (self.limit_seconds if trouble.may_mend else _GRACE_SECONDS):
                raise UserError(f"{self.name} stands still since {lasts:.0f} s: {trouble.text}")


def _of_pod(pod: "V1Pod") -> Iterator[Trouble]:
    name, why = pod.metadata.name, unschedulable(pod)
    if why:
        yield Trouble(f"node {name}", _HOMELESS.format(name=name, why=why), may_mend=True)
    for container in waiting(pod):
        reason = container.state.waiting.reason
        remedy = _NOT_MENDING.get(reason)
        if remedy:
            said = (container.state.waiting.message or "").strip()
            yield Trouble(
                f"container {container.name} {name}",
                f"container {container.name} of pod {name} with image {container.image} cannot "
                f"start ({reason}: {said}); {remedy}",
                may_mend=False,
            )


def _of_event(event: "CoreV1Event", seen: set[str]) -> Iterator[Trouble]:
    """What a warning tells of pods that are not there, or that the selector leaves out."""
    at, name = last_seen(event), event.involved_object.name
    said, age = (event.message or "").strip(), datetime.now(UTC) - at if at else timedelta(0)
    if event.reason == "FailedCreate" and "exceeded quota" not in said:
        if age <= _NOT_MENDING_RECENT:
            text = f"{name} cannot make its pods ({said}); change what it names"
            yield Trouble(f"create {name}", text, may_mend=False)
    elif age > _MAY_MEND_RECENT:
        return
    elif event.reason == "FailedCreate":
        text = f"the namespace has no quota left ({said}); free some or ask for more"
        yield Trouble(f"quota {name}", text, may_mend=True)
    elif event.reason in ("FailedMount", "FailedAttachVolume"):
        text = f"pod {name} cannot mount a volume ({said}); create what it names"
        yield Trouble(f"volume {name}", text, may_mend=True)
    elif name not in seen and event.reason == "FailedScheduling":
        yield Trouble(f"node {name}", _HOMELESS.format(name=name, why=said), may_mend=True)
    elif name not in seen and event.reason == "Failed" and "pull image" in said:
        text = f"pod {name} cannot get an image ({said}); check its name, tag and credentials"
        yield Trouble(f"image {name}", text, may_mend=True)
