"""Where an InferenceService is kept: a cluster's API server, or a file on one machine."""

from collections.abc import Callable
from typing import Any, Protocol

from components.shared.kubernetes.refusals import Conflict

__all__ = ["Conflict", "ServiceStore"]


class ServiceStore(Protocol):
    """One InferenceService, by name, with its status.

    The rollout knows nothing else of where it runs. `kserve.kserve_store` keeps the object in a
    cluster, `local.local_store` in a file that a site on one machine serves from. Every change of
    the object, its status included, gives it a new `metadata.resourceVersion`.
    """

    def read(self) -> dict[str, Any] | None:
        """The object as it is now, with its status; None where there is none.

        Raises:
            UserError: If the store cannot be reached or refuses.
        """
        ...

    def create(self, service: dict[str, Any]) -> dict[str, Any]:
        """Keep an object that is not there yet.

        Args:
            service: The InferenceService, without status and resourceVersion.

        Returns:
            The object as kept.

        Raises:
            Conflict: If there is one of that name.
            UserError: If the store cannot be reached or refuses.
        """
        ...

    def patch(self, change: dict[str, Any], resource_version: str) -> dict[str, Any]:
        """Apply a JSON merge patch (RFC 7386) to the object that the change was decided on.

        Args:
            change: Fields to set; None removes one; a list replaces the whole list.
            resource_version: The object's `metadata.resourceVersion` when it was read.

        Returns:
            The object as kept.

        Raises:
            Conflict: If the object is another by now, or gone.
            UserError: If the store cannot be reached or refuses.
        """
        ...

    def wait(
        self, reached: Callable[[dict[str, Any]], bool], deadline_seconds: float
    ) -> dict[str, Any]:
        """The object, once a predicate holds for it.

        Args:
            reached: Asked of the object as it is now and after each change; what it raises ends
                the wait.
            deadline_seconds: How long to wait.

        Returns:
            The object for which the predicate holds.

        Raises:
            UserError: If the predicate does not hold in time, with `explain()`, or the object is
                gone.
        """
        ...

    def explain(self) -> str:
        """Why the service is as it is, in words: conditions, events, a failed server's last lines.

        Never raises: what cannot be found out is said.
        """
        ...

    def delete(self) -> None:
        """Remove the object and what runs for it; nothing happens where there is none.

        Raises:
            UserError: If the store cannot be reached or refuses.
        """
        ...
