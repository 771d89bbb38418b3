"""A lock that the pods of a cluster share: a Lease, taken and given back by resourceVersion."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from components.shared.kubernetes.namespace_objects import PART_OF, PART_OF_LABEL
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Conflict, Resource
from components.shared.machine.errors import UserError

LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("coordination.k8s.io", "leases"): ("create", "get", "patch"),
}
"""Verbs that `leased` needs, by API group and resource."""

HELD_SECONDS = 60
"""A holder that was killed loses the lease after this time."""

_PAUSE_SECONDS = 1.0


@contextmanager
def leased(leases: Objects, name: str, holder: str, wait_seconds: float = 300.0) -> Iterator[None]:
    """Hold the lease for a work of some seconds; others wait.

    The API server refuses a change that was decided on another resourceVersion, so of two who see
    the lease free only one gets it.

    Args:
        leases: The namespace's Leases.
        name: Name of the lease, made if it does not exist.
        holder: Who asks, different for each process.
        wait_seconds: How long to wait for another holder.

    Raises:
        UserError: If another holds it for longer, or the cluster refuses.
    """
    policy = leases.retry_policy
    until = policy.clock() + wait_seconds
    while not _taken(leases, name, holder):
        if policy.clock() >= until:
            raise UserError(
                f"Lease {name} in namespace {leases.namespace} is held by another run for more "
                f"than {wait_seconds:.0f} s; look whether it hangs"
            )
        policy.sleep(_PAUSE_SECONDS)
    try:
        yield
    finally:
        found = leases.read(name)
        if found is not None and found["spec"].get("holderIdentity") == holder:
            with suppress(Conflict):  # it ran out, and another has it
                leases.patch(name, {"spec": {"holderIdentity": None}}, _version(found))


def _taken(leases: Objects, name: str, holder: str) -> bool:
    """Whether the lease is this holder's now."""
    now = datetime.now(UTC)
    moment = now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": HELD_SECONDS,
        "acquireTime": moment,
        "renewTime": moment,
    }
    found = leases.read(name)
    try:
        if found is None:
            leases.create(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "labels": {PART_OF_LABEL: PART_OF}},
                    "spec": spec,
                }
            )
        elif _is_free(found["spec"], holder, now):
            leases.patch(name, {"spec": spec}, _version(found))
        else:
            return False
    except Conflict:
        return False
    return True


def _is_free(spec: dict[str, Any], holder: str, now: datetime) -> bool:
    if spec.get("holderIdentity") in (None, "", holder):
        return True
    renewed = datetime.fromisoformat(spec.get("renewTime") or "1970-01-01T00:00:00Z")
    return (now - renewed).total_seconds() > spec.get("leaseDurationSeconds", HELD_SECONDS)


def _version(found: dict[str, Any]) -> str:
    return str(found["metadata"]["resourceVersion"])
