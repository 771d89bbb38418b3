"""The InferenceService in a cluster."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Resource

INFERENCE_SERVICES = Resource(
    "serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", "KServe"
)

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("serving.kserve.io", "inferenceservices"): ("create", "delete", "get", "patch", "watch"),
    ("", "events"): ("list",),
    ("", "pods"): ("list",),
    ("", "pods/log"): ("get",),
}
"""Verbs that a rollout needs, by API group and resource: its Role grants these and no more."""

_PODS = "serving.kserve.io/inferenceservice={name}"


@dataclass(frozen=True)
class KServeStore:
    """A `ServiceStore` that keeps the object in a cluster.

    Attributes:
        objects: The InferenceServices of the namespace.
        name: Of the service.
    """

    objects: Objects
    name: str

    @classmethod
    def connect(
        cls, name: str, *, namespace: str = "", kubeconfig: str = "", context: str = ""
    ) -> "KServeStore":
        """The store of one service, with the credentials of the pod or of a kubeconfig.

        Raises:
            UserError: If there are no credentials.
        """
        client, found = connect(namespace, kubeconfig=kubeconfig, context=context)
        return cls(Objects(client, found, INFERENCE_SERVICES, pods=_PODS), name)

    def read(self) -> dict[str, Any] | None:
        """See `ServiceStore.read`."""
        return self.objects.read(self.name)

    def create(self, service: dict[str, Any]) -> dict[str, Any]:
        """See `ServiceStore.create`."""
        return self.objects.create(service)

    def patch(self, change: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """See `ServiceStore.patch`."""
        return self.objects.patch(self.name, change, resource_version)

    def wait(
        self, reached: Callable[[dict[str, Any]], bool], deadline_seconds: float
    ) -> dict[str, Any]:
        """See `ServiceStore.wait`."""
        return self.objects.wait(self.name, reached, deadline_seconds)

    def explain(self) -> str:
        """See `ServiceStore.explain`."""
        return self.objects.explain(self.name)

    def delete(self) -> None:
        """See `ServiceStore.delete`."""
        self.objects.delete(self.name)
