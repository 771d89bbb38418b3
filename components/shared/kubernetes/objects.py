"""One object of a cluster at a time: read, create, patch, delete, watch, wait."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.diagnosis import explain
from components.shared.kubernetes.refusals import (
    Conflict,
    Gone,
    Request,
    Resource,
    is_missing_object,
    refused,
)
from components.shared.kubernetes.retries import PASSING, RetryPolicy, retry_after
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

WINDOW_SECONDS = 30.0
"""How long one watch lasts. The object is read anew between two, so that neither an expired
resourceVersion nor a proxy that holds the stream back can hide its state for longer."""

_TIMEOUT = (5.0, 30.0)
"""Seconds to connect and to wait for an answer."""

_OUTAGE_SECONDS = 600.0
"""How long a wait tolerates that the API cannot be reached."""

_EXPIRED = 410


@dataclass(frozen=True)
class Objects:
    """The objects of one kind in one namespace, asked for with the client of `connect`.

    Each method raises `UserError` if the cluster refuses or cannot be reached. `pods` is the label
    selector of an object's pods, with `{name}` for its name, to explain why it is as it is.
    """

    client: "ApiClient"
    namespace: str
    resource: Resource
    pods: str = ""
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)

    def read(self, name: str) -> dict[str, Any] | None:
        """The object as it is now; None where there is none."""
        return self._ask("get", name, name, if_missing=lambda: None)

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create one object and return it as it is stored; `Conflict` if the name is taken.

        Where the answer is lost, what was created is recognised by its content.
        """
        name = manifest["metadata"]["name"]

        def already() -> dict[str, Any] | None:
            found = self.read(name)
            return found if found is not None and contains(found, manifest) else None

        return self._ask("create", name, manifest, when_lost=already)

    def dry_run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The object as `create` would make it, checked by schema and webhooks; raises the same."""
        return self._ask("create", manifest["metadata"]["name"], manifest, dry_run="All")

    def create_or_adopt(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or take what is there if it is that; `Conflict` if it is another."""
        try:
            return self.create(manifest)
        except Conflict:
            found = self.read(manifest["metadata"]["name"])
            if found is None or not contains(found, manifest):
                raise
            return found

    def patch(self, name: str, change: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """Apply a JSON merge patch (RFC 7386), and return the object as the cluster stores it.

        The API server refuses the patch if the object has another resourceVersion by now than when
        the change was decided on. So it is harmless to repeat after a lost answer: it then is a
        `Conflict`, and reading again shows the change in place.

        Raises:
            Conflict: If the object is another by now, or gone.
        """
        metadata = {**change.get("metadata", {}), "resourceVersion": resource_version}

        def gone() -> None:
            raise Conflict(f"{self.resource.kind} {name} is gone")

        return self._ask("patch", name, name, {**change, "metadata": metadata}, if_missing=gone)

    def delete(self, name: str, *, uid: str = "", foreground: bool = False) -> None:
        """Delete an object; nothing happens where there is none, `Conflict` if its uid is another.

        With `foreground` the object stays, marked, until what it owns is gone too.
        """
        from kubernetes.client import V1DeleteOptions, V1Preconditions

        how = V1DeleteOptions(
            propagation_policy="Foreground" if foreground else None,
            preconditions=V1Preconditions(uid=uid) if uid else None,
        )
        self._ask("delete", name, name, if_missing=lambda: None, body=how)

    def watch(self, name: str, deadline_seconds: float) -> Iterator[dict[str, Any]]:
        """The object now, at each change, and at least every `WINDOW_SECONDS` until the deadline.

        An API server that is away for some minutes, as while it is upgraded, is waited for.
        Whatever ends a watch (its time, a dropped connection, an overloaded or restarted API
        server, 410 Gone, as an answer or as an ERROR event), the object is read again and watched
        from there, after a pause that doubles while watches end early without any event.

        Raises:
            Gone: If the object is not there, or is deleted meanwhile.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        policy, failures = self.retry_policy, 0
        until = policy.clock() + deadline_seconds
        outage = max(policy.seconds, min(deadline_seconds, _OUTAGE_SECONDS))
        lasting = replace(self, retry_policy=replace(policy, seconds=outage))
        kind, place = self.resource.kind, f"namespace {self.namespace}"
        gone = Gone(f"{kind} {name} is gone from {place}; someone deleted it")
        while True:
            found = lasting.read(name)
            if found is None:
                raise gone
            yield found
            opened = policy.clock()
            if opened >= until:
                return
            failure: Exception | None = None
            window = min(until - opened, WINDOW_SECONDS)
            try:
                for event in self._stream(name, found["metadata"]["resourceVersion"], window):
                    if event["type"] == "BOOKMARK":
                        continue
                    if event["type"] == "DELETED":
                        raise gone
                    failures = 0
                    yield event["raw_object"]
                    if policy.clock() >= until:
                        return
            except ApiException as error:
                if error.status not in PASSING and error.status != _EXPIRED:
                    raise refused(error, self._request("watch", name)) from None
                failure = error
            except (HTTPError, OSError) as error:
                failure = error
            now = policy.clock()
            if retry_after(failure) is None:
                if now - opened >= window:
                    continue
                failures += 1
            policy.sleep(max(0.0, min(policy.pause(failures, failure), until - now)))

    def _stream(self, name: str, version: str, seconds: float) -> Iterator[dict[str, Any]]:
        from kubernetes.client import CustomObjectsApi
        from kubernetes.watch import Watch

        return Watch().stream(
            CustomObjectsApi(self.client).list_namespaced_custom_object,
            *self._address(),
            field_selector=f"metadata.name={name}",
            resource_version=version,
            timeout_seconds=max(1, round(seconds)),
            _request_timeout=(_TIMEOUT[0], seconds + _TIMEOUT[1]),
        )

    def wait(
        self, name: str, reached: Callable[[dict[str, Any]], bool], deadline_seconds: float
    ) -> dict[str, Any]:
        """The object, once a predicate holds for it; what the predicate raises ends the wait.

        Raises `Gone` as `watch`, and `UserError` if it does not hold in time, with `explain`.
        """
        for found in self.watch(name, deadline_seconds):
            if reached(found):
                return found
        raise UserError(
            f"{self.resource.kind} {name} did not get there within {deadline_seconds:.0f} s: "
            f"{self.explain(name)}"
        )

    def wait_until_gone(self, name: str, deadline_seconds: float) -> None:
        """Wait for the end of an object that is being deleted; `UserError` if it stays."""
        try:
            for _ in self.watch(name, deadline_seconds):
                pass
        except Gone:
            return
        raise UserError(
            f"{self.resource.kind} {name} in namespace {self.namespace} is being deleted and did "
            f"not go within {deadline_seconds:.0f} s; look at its finalizers"
        )

    def explain(self, name: str) -> str:
        """Why an object is as it is: its conditions, events, and a failed pod's last lines."""
        try:
            found = self.read(name)
        except UserError as error:
            return str(error)
        return explain(self.client, self.namespace, name, found, self.pods.format(name=name))

    def _ask(
        self,
        verb: str,
        name: str,
        *content: Any,
        if_missing: Callable[[], Any] | None = None,
        when_lost: Callable[[], Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make a request with the client's method of the verb; `if_missing` answers its 404."""
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException

        method = getattr(CustomObjectsApi(self.client), f"{verb}_namespaced_custom_object")

        def once() -> Any:
            try:
                return method(*self._address(), *content, _request_timeout=_TIMEOUT, **options)
            except ApiException as error:
                if if_missing is not None and is_missing_object(error, name):
                    return if_missing()
                raise

        return self.retry_policy.call(once, self._request(verb, name), when_lost=when_lost)

    def _address(self) -> tuple[str, str, str, str]:
        return self.resource.group, self.resource.version, self.namespace, self.resource.plural

    def _request(self, verb: str, name: str) -> Request:
        host = self.client.configuration.host
        return Request(verb, self.resource, self.namespace, name, host)


def contains(found: Any, wanted: Any) -> bool:
    """Whether all that was wanted is in what was found, to which the API server adds fields."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and contains(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(contains, found, wanted))
    return bool(found == wanted)
