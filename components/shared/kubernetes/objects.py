"""One object of a cluster at a time: read, create, patch, delete, wait."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.changes import changes
from components.shared.kubernetes.conflict import Conflict, Gone
from components.shared.kubernetes.explanation import explain
from components.shared.kubernetes.refusals import Request, Resource, is_missing_object, refused
from components.shared.kubernetes.retries import Patience
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_TIMEOUT = (5.0, 30.0)
"""Seconds to connect and to wait for an answer."""

_OUTAGE_SECONDS = 600.0
"""How long a wait bears that the API cannot be reached."""


@dataclass(frozen=True)
class Objects:
    """The objects of one kind in one namespace.

    Attributes:
        client: Of the cluster's API, from `connection.connect`.
        namespace: Where the objects are.
        resource: Their kind.
        pods: Label selector of an object's pods, with `{name}` for the object's name; needed to
            explain why an object is as it is.
        patience: How to ask again, and the clock to wait by.
    """

    client: "ApiClient"
    namespace: str
    resource: Resource
    pods: str = ""
    patience: Patience = field(default_factory=Patience)

    def read(self, name: str) -> dict[str, Any] | None:
        """The object as it is now; None where there is none.

        Raises:
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException

        def ask() -> dict[str, Any] | None:
            try:
                return CustomObjectsApi(self.client).get_namespaced_custom_object(
                    *self._address(), name, _request_timeout=_TIMEOUT
                )
            except ApiException as error:
                if is_missing_object(error.status, error.body, name):
                    return None
                raise

        return self.patience.answer(ask, self._request("get", name))

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object.

        Where the answer is lost, what was created is recognised by its content, so that one call
        creates one object.

        Returns:
            The object as the cluster keeps it.

        Raises:
            Conflict: If there is one of that name.
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi

        name = manifest["metadata"]["name"]

        def ask() -> dict[str, Any]:
            return CustomObjectsApi(self.client).create_namespaced_custom_object(
                *self._address(), manifest, _request_timeout=_TIMEOUT
            )

        def already() -> dict[str, Any] | None:
            found = self.read(name)
            return found if found is not None and contains(found, manifest) else None

        return self.patience.answer(ask, self._request("create", name), when_lost=already)

    def create_or_adopt(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object, or take the one that is there if it is what was wanted.

        Returns:
            The object as the cluster keeps it.

        Raises:
            Conflict: If there is another one of that name.
            UserError: If the cluster refuses or cannot be reached.
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
            name: Of the object.
            change: Fields to set; None removes one.
            resource_version: The object's when the change was decided on.

        Returns:
            The object as the cluster keeps it.

        Raises:
            Conflict: If the object is another by now, or gone.
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException

        metadata = {**change.get("metadata", {}), "resourceVersion": resource_version}

        def ask() -> dict[str, Any]:
            try:
                return CustomObjectsApi(self.client).patch_namespaced_custom_object(
                    *self._address(),
                    name,
                    {**change, "metadata": metadata},
                    _request_timeout=_TIMEOUT,
                )
            except ApiException as error:
                if is_missing_object(error.status, error.body, name):
                    raise Conflict(f"{self.resource.kind} {name} is gone") from None
                raise

        return self.patience.answer(ask, self._request("patch", name))

    def delete(self, name: str, *, uid: str = "", foreground: bool = False) -> None:
        """Delete an object; nothing happens where there is none.

        Args:
            name: Of the object.
            uid: Delete only the object that has this one.
            foreground: Let the object stay, marked, until what it owns is gone too.

        Raises:
            Conflict: If the object has another uid.
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi, V1DeleteOptions, V1Preconditions
        from kubernetes.client.exceptions import ApiException

        how = V1DeleteOptions(
            propagation_policy="Foreground" if foreground else None,
            preconditions=V1Preconditions(uid=uid) if uid else None,
        )

        def ask() -> None:
            try:
                CustomObjectsApi(self.client).delete_namespaced_custom_object(
                    *self._address(), name, body=how, _request_timeout=_TIMEOUT
                )
            except ApiException as error:
                if not is_missing_object(error.status, error.body, name):
                    raise

        self.patience.answer(ask, self._request("delete", name))

    def watch(self, name: str, deadline_seconds: float) -> Iterator[dict[str, Any]]:
        """The object now, at each change, and at least every `changes.WINDOW_SECONDS`.

        An API server that is away for some minutes, as while it is upgraded, is waited for.

        Args:
            name: Of the object.
            deadline_seconds: After which it ends.

        Yields:
            The object.

        Raises:
            Gone: If the object is not there, or is deleted meanwhile.
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException
        from kubernetes.watch import Watch

        def stream(version: str, seconds: float) -> Iterator[dict[str, Any]]:
            return Watch().stream(
                CustomObjectsApi(self.client).list_namespaced_custom_object,
                *self._address(),
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=max(1, round(seconds)),
                _request_timeout=(_TIMEOUT[0], seconds + _TIMEOUT[1]),
            )

        outage = min(deadline_seconds, _OUTAGE_SECONDS)
        lasting = replace(self.patience, seconds=max(self.patience.seconds, outage))
        read = partial(replace(self, patience=lasting).read, name)
        try:
            for found in changes(read, stream, self.patience, deadline_seconds):
                if found is None:
                    raise Gone(
                        f"{self.resource.kind} {name} is gone from namespace {self.namespace}; "
                        "someone deleted it"
                    )
                yield found
        except ApiException as error:
            asked = self._request("watch", name)
            raise refused(int(error.status or 0), error.body, error.reason, asked) from None

    def wait(
        self,
        name: str,
        reached: Callable[[dict[str, Any]], bool],
        deadline_seconds: float,
    ) -> dict[str, Any]:
        """The object, once a predicate holds for it.

        Args:
            name: Of the object.
            reached: Asked of the object at each change; what it raises ends the wait.
            deadline_seconds: How long to wait.

        Returns:
            The object for which the predicate holds.

        Raises:
            Gone: If the object is not there, or is deleted meanwhile.
            UserError: If it does not hold in time, with conditions, events and logs; if the
                cluster refuses or cannot be reached.
        """
        for found in self.watch(name, deadline_seconds):
            if reached(found):
                return found
        raise UserError(
            f"{self.resource.kind} {name} did not get there within {deadline_seconds:.0f} s: "
            f"{self.explain(name)}"
        )

    def wait_until_gone(self, name: str, deadline_seconds: float) -> None:
        """Wait for the end of an object that is being deleted.

        Raises:
            UserError: If it is still there in the end; if the cluster refuses or cannot be reached.
        """
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
        return explain(
            self.client, self.namespace, name, found, self.pods.format(name=name), _TIMEOUT
        )

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
