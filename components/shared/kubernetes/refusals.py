"""What the cluster's API refuses, in one sentence that names the thing and the remedy."""

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client.exceptions import ApiException


class Conflict(Exception):  # noqa: N818 (an answer to decide anew on, not a fault)
    """The object is no longer as it was read: read it again and decide anew."""


class Gone(UserError):  # noqa: N818 (the same)
    """The object that was waited for no longer exists."""


@dataclass(frozen=True)
class Resource:
    """A kind of object, as the API addresses it.

    Attributes:
        group: API group; empty for Kubernetes' own core objects.
        version: Version of the group.
        plural: Name in the URL, which is also the name that a Role grants.
        kind: As in a manifest.
        brought_by: What installs the kind, named where it is missing.
    """

    group: str
    version: str
    plural: str
    kind: str
    brought_by: str = ""

    @property
    def in_full(self) -> str:
        """As `kubectl` names it, e.g. `trainjobs.trainer.kubeflow.org`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True)
class Request:
    """What was asked of the API, for the sentence that says why it was refused.

    Attributes:
        verb: As a Role grants it: get, list, watch, create, patch, delete.
        resource: Kind of object.
        namespace: Namespace that was asked.
        name: Name of the object; empty for a list.
        host: Address of the API.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource.plural} {self.name}".rstrip()


def status_of(body: str | bytes | None) -> dict[str, Any]:
    """The JSON object in an answer's body; empty where the body is not one.

    An address that the API server does not know, such as a kind without its definition, is
    answered with plain text.
    """
    try:
        status = json.loads(body or "")
    except ValueError:
        return {}
    return status if isinstance(status, dict) else {}


def is_missing_object(error: "ApiException", name: str) -> bool:
    """Whether a 404 means that the one object is not there, not its kind or its namespace."""
    found = status_of(error.body)
    details = found.get("details") or {}
    return (
        error.status == 404
        and found.get("reason") == "NotFound"
        and details.get("name") == name
        and details.get("kind") != "namespaces"
    )


def refused(error: "ApiException", request: Request) -> UserError:
    """An error answer of the API as an error for the user."""
    status, body = int(error.status or 0), error.body
    if isinstance(body, bytes):
        body = body.decode("utf-8", "replace")
    found = status_of(body)
    message = str(found.get("message") or (body or "").strip() or error.reason or "")
    message = message.strip()[:500]
    where, full = f"namespace {request.namespace}", request.resource.in_full
    if status == 0:
        return UserError(
            f"the cluster's certificate at {request.host} is not trusted ({message}); check the "
            "certificate-authority in the kubeconfig"
        )
    if status == 401:
        return UserError(
            f"the cluster at {request.host} does not accept the credentials (401); log in again, "
            "or renew the token in the kubeconfig"
        )
    if status == 403 and "exceeded quota" in message:
        return UserError(f"{where} has no quota left: {message}; free some or ask for more")
    user = re.search(r'User "([^"]+)" cannot', message)
    if status in (400, 422) or (status == 403 and message and not user):
        # Admission also answers 403, in other words than the authorizer's.
        return UserError(
            f"the cluster refuses {request.resource.kind} {request.name} in {where}: {message}; "
            "change what it names"
        )
    if status == 403:
        return UserError(
            f"{user[1] if user else 'this user'} may not {request.verb} {full} in {where} (403); "
            f"bind a Role that grants the verb {request.verb} on {full}"
        )
    if status == 404:
        details = found.get("details") or {}
        if found.get("reason") == "NotFound" and details.get("kind") == "namespaces":
            return UserError(
                f"there is no {where} in the cluster at {request.host}; create it or give another"
            )
        if found.get("reason") != "NotFound" or not details.get("name"):
            by = f"install {request.resource.brought_by}" if request.resource.brought_by else ""
            return UserError(
                f"the cluster at {request.host} does not serve {full}; "
                f"{by or 'install its CustomResourceDefinition'}"
            )
        return UserError(
            f"there is no {request.resource.kind} {request.name} in {where}; check both names"
        )
    if status == 500 and "failed calling webhook" in message:
        by = request.resource.brought_by or "the controller that it belongs to"
        return UserError(
            f"the cluster cannot ask its webhook about {request.resource.kind} {request.name}: "
            f"{message}; look whether the pods of {by} run"
        )
    return UserError(
        f"the cluster at {request.host} answered {status} to {request}: {message}; try again later"
    )


def unreachable(error: Exception, request: Request) -> UserError:
    """A connection that failed, as an error for the user."""
    return UserError(
        f"the cluster at {request.host} cannot be reached ({type(error).__name__} at {request}); "
        "check the server in the kubeconfig and the network"
    )
