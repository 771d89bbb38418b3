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
    """A kind of object, as the API addresses it; the group of Kubernetes' own is empty.

    The plural stands in the URL and in Roles; `brought_by` installs the kind where it is missing.
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
    """What was asked of the API at a host, for the sentence that says why it was refused.

    The verb is one that a Role grants: get, list, watch, create, patch, delete. A list has no name.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str = ""
    host: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource.plural} {self.name}".rstrip()


def status_of(body: str | bytes | None) -> dict[str, Any]:
    """The JSON object in a body; empty where it is plain text, as for an address not served."""
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
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else error.body
    message = str(status_of(body).get("message") or (body or "").strip() or error.reason or "")
    message, status = message.strip()[:500], int(error.status or 0)
    return UserError(_sentence(status, status_of(body), message, request))


def _sentence(status: int, found: dict[str, Any], message: str, request: Request) -> str:
    where, at = f"namespace {request.namespace}", f"the cluster at {request.host}"
    full, by = request.resource.in_full, request.resource.brought_by
    thing = f"{request.resource.kind} {request.name}"
    details, missing = found.get("details") or {}, found.get("reason") == "NotFound"
    if status == 0:
        return (
            f"the cluster's certificate at {request.host} is not trusted ({message}); check the "
            "certificate-authority in the kubeconfig"
        )
    if status == 401:
        return (
            f"{at} does not accept the credentials (401); log in again, "
            "or renew the token in the kubeconfig"
        )
    if status == 403 and "exceeded quota" in message:
        return f"{where} has no quota left: {message}; free some or ask for more"
    user = re.search(r'User "([^"]+)" cannot', message)
    if status in (400, 422) or (status == 403 and message and not user):
        # Admission also answers 403, in other words than the authorizer's.
        return f"the cluster refuses {thing} in {where}: {message}; change what it names"
    if status == 403:
        return (
            f"{user[1] if user else 'this user'} may not {request.verb} {full} in {where} (403); "
            f"bind a Role that grants the verb {request.verb} on {full}"
        )
    if status == 404 and missing and details.get("kind") == "namespaces":
        return f"there is no {where} in {at}; create it or give another"
    if status == 404 and missing and details.get("name"):
        return f"there is no {thing} in {where}; check both names"
    if status == 404:
        return f"{at} does not serve {full}; install {by or 'its CustomResourceDefinition'}"
    if status == 500 and "failed calling webhook" in message:
        pods = f"the pods of {by or 'the controller that it belongs to'}"
        return (
            f"the cluster cannot ask its webhook about {thing}: {message}; look whether {pods} run"
        )
    return f"{at} answered {status} to {request}: {message}; try again later"


def unreachable(error: Exception, request: Request) -> UserError:
    """A connection that failed, as an error for the user."""
    return UserError(
        f"the cluster at {request.host} cannot be reached ({type(error).__name__} at {request}); "
        "check the server in the kubeconfig and the network"
    )
