"""One object of a cluster at a time: read, create, patch, delete, watch, wait."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
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
    """The objects of one kind in one namespace.

    Each method raises `UserError` if the cluster refuses or cannot be reached.

    Attributes:
        client: Client of the cluster's API, from `connection.connect`.
        namespace: Namespace of the objects.
        resource: Their kind.
        pods: Label selector of an object's pods, with `{name}` for the object's name; needed to
            explain why an object is as it is.
        retry_policy: How to ask again, and the clock to wait by.
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
        """Create an object and return it as the cluster stores it.

        Where the answer is lost, what was created is recognised by its content, so that one call
        creates one object.

        Raises:
            Conflict: If there is one of that name.
        """
        name = manifest["metadata"]["name"]

        def already() -> dict[str, Any] | None:
            found = self.read(name)
            return found if found is not None and contains(found, manifest) else None

        return self._ask("create", name, manifest, when_lost=already)

    def dry_run(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """The object as the cluster would create it; nothing is created.

        The API server checks it against its schema and asks the webhooks, as for `create`, with the
        same permission.

        Raises:
            Conflict: If there is one of that name.
        """
        return self._ask("create", manifest["metadata"]["name"], manifest, dry_run="All")

    def create_or_adopt(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or take the one that is there if it is what was wanted.

        Raises:
            Conflict: If there is another one of that name.
        """
        try:
            return self.create(manifest)
        except Conflict:
            found = self.read(manifest["metadata"]["name"])
            if found is None or not contains(found, manifest):
                raise
            return found

    def patch(self, name: str, change: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """Apply a JSON merge patch (RFC 7386) to the object as it was read.

        The API server refuses the patch if the object has another resourceVersion by now, which
        also makes it harmless to repeat after a lost answer: it then is a `Conflict`, and reading
        again shows the change in place.

        Args:
            name: Name of the object.
            change: Fields to set; None removes one.
            resource_version: The object's when the change was decided on.

        Returns:
            The object as the cluster stores it.

        Raises:
            Conflict: If the object is another by now, or gone.
        """
        metadata = {**change.get("metadata", {}), "resourceVersion": resource_version}

        def gone() -> None:
            raise Conflict(f"{self.resource.kind} {name} is gone")

        return self._ask("patch", name, name, {**change, "metadata": metadata}, if_missing=gone)

    def delete(self, name: str, *, uid: str = "", foreground: bool = False) -> None:
        """Delete an object; nothing happens where there is none.

        Args:
            name: Name of the object.
            uid: Delete only the object that has this one.
            foreground: Let the object stay, marked, until what it owns is gone too.

        Raises:
            Conflict: If the object has another uid.
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

        Raises:
            Gone: If the object is not there, or is deleted meanwhile.
        """
        from kubernetes.client.exceptions import ApiException

        outage = min(deadline_seconds, _OUTAGE_SECONDS)
        policy = self.retry_policy
        lasting = replace(policy, seconds=max(policy.seconds, outage))
        read = partial(replace(self, retry_policy=lasting).read, name)
        try:
            for found in self._changes(name, read, policy.clock() + deadline_seconds):
                if found is None:
                    raise Gone(
                        f"{self.resource.kind} {name} is gone from namespace {self.namespace}; "
                        "someone deleted it"
                    )
                yield found
        except ApiException as error:
            raise refused(error, self._request("watch", name)) from None

    def _changes(
        self, name: str, read: Callable[[], dict[str, Any] | None], until: float
    ) -> Iterator[dict[str, Any] | None]:
        """Yield the object's state until a time of the clock; None, as the last, when it is gone.

        Whatever ends a watch (its time, a dropped connection, an overloaded or restarted API
        server, 410 Gone, as an answer or as an ERROR event), the object is read again and watched
        from there, after a pause that doubles while watches end early without any event.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        policy, failures = self.retry_policy, 0
        while True:
            found = read()
            yield found
            opened = policy.clock()
            if found is None or opened >= until:
                return
            failure: Exception | None = None
            window = min(until - opened, WINDOW_SECONDS)
            try:
                for event in self._stream(name, found["metadata"]["resourceVersion"], window):
                    if event["type"] == "BOOKMARK":
                        continue
                    failures = 0
                    yield None if event["type"] == "DELETED" else event["raw_object"]
                    if event["type"] == "DELETED" or policy.clock() >= until:
                        return
            except ApiException as error:
                if error.status not in PASSING and error.status != _EXPIRED:
                    raise
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
        """Watch events from a resourceVersion on, for at most that many seconds."""
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

        Raises:
            Gone: If the object is not there, or is deleted meanwhile.
            UserError: If it does not hold in time, with conditions, events and logs.
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
    """Whether everything that was wanted is in what was found.

    The API server adds fields of its own; it takes none away.
    """
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and contains(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(contains, found, wanted))
        )
    return bool(found == wanted)
