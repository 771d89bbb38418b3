"""One object of a cluster at a time: read, create, patch, delete, wait."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.cluster.conflict import Conflict
from components.cluster.explanation import explain
from components.cluster.refusals import Request, Resource, is_missing_object
from components.cluster.retries import Patience
from components.contracts.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_TIMEOUT = (5.0, 30.0)
"""Seconds to connect and to wait for an answer."""


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
        look_every_seconds: Pause between two looks of `wait`.
    """

    client: "ApiClient"
    namespace: str
    resource: Resource
    pods: str = ""
    patience: Patience = field(default_factory=Patience)
    look_every_seconds: float = 2.0

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

    def delete(self, name: str) -> None:
        """Delete an object; nothing happens where there is none.

        Raises:
            UserError: If the cluster refuses or cannot be reached.
        """
        from kubernetes.client import CustomObjectsApi
        from kubernetes.client.exceptions import ApiException

        def ask() -> None:
            try:
                CustomObjectsApi(self.client).delete_namespaced_custom_object(
                    *self._address(), name, _request_timeout=_TIMEOUT
                )
            except ApiException as error:
                if not is_missing_object(error.status, error.body, name):
                    raise

        self.patience.answer(ask, self._request("delete", name))

    def wait(
        self,
        name: str,
        reached: Callable[[dict[str, Any]], bool],
        deadline_seconds: float,
    ) -> dict[str, Any]:
        """The object, once a predicate holds for it.

        It looks every few seconds. A watch would learn of a change a second sooner, and would need
        two more verbs and its own ways back after a dropped stream and a 410.

        Args:
            name: Of the object.
            reached: Asked of the object at each look; what it raises ends the wait.
            deadline_seconds: How long to wait.

        Returns:
            The object for which the predicate holds.

        Raises:
            UserError: If it does not hold in time, with conditions, events and logs; if the object
                is gone; if the cluster refuses or cannot be reached.
        """
        until = self.patience.clock() + deadline_seconds
        while True:
            found = self.read(name)
            if found is None:
                raise UserError(
                    f"{self.resource.kind} {name} is gone from namespace {self.namespace}; "
                    "someone deleted it"
                )
            if reached(found):
                return found
            left = until - self.patience.clock()
            if left <= 0:
                raise UserError(
                    f"{self.resource.kind} {name} did not get there within "
                    f"{deadline_seconds:.0f} s: {self.explain(name)}"
                )
            self.patience.sleep(min(left, self.look_every_seconds))

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
