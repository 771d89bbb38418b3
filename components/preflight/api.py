"""The cluster's API as a preflight asks it: a refusal is an answer too, not an error."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from components.preflight.finding import Finding, skipped
from components.shared.kubernetes.refusals import Request, Resource, status_of
from components.shared.kubernetes.retries import RetryPolicy

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_TIMEOUT = (3.0, 8.0)
"""Seconds to connect and to wait for an answer."""

_AT_ONCE = RetryPolicy(seconds=4.0)
"""A preflight does not wait for a cluster to come back."""

_ANSWERS = frozenset({400, 403, 404, 405, 406, 410, 422})
"""Refusals that a check evaluates; others are asked again, or end the preflight."""

_JSON = "application/json"
ONLY_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""Asks for an object without its content, so that no value of a Secret leaves the cluster."""


@dataclass(frozen=True)
class Answer:
    """What the API said: HTTP status and body."""

    status: int
    text: str

    @property
    def good(self) -> bool:
        """Whether it is what was asked for."""
        return self.status < 300

    @property
    def found(self) -> dict[str, Any]:
        """The object in the body; empty where there is none."""
        return status_of(self.text)

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects of a list."""
        return self.found.get("items") or []


@dataclass(frozen=True)
class Api:
    """Asks a cluster, in the name of the user, about one namespace."""

    client: "ApiClient"
    namespace: str
    retry_policy: RetryPolicy = _AT_ONCE

    @property
    def host(self) -> str:
        """Address of the API."""
        return str(self.client.configuration.host)

    def get(self, path: str, *, accept: str = _JSON, **query: str) -> Answer:
        """Read an address, e.g. `/version`; raises as `ask`."""
        return self.ask("GET", f"{path}?{urlencode(query)}" if query else path, accept=accept)

    def of_namespace(self, plural: str, name: str = "", group_version: str = "v1") -> str:
        """Address of an object, or of all of its kind, in the namespace."""
        root = "/apis" if "/" in group_version else "/api"
        path = f"{root}/{group_version}/namespaces/{quote(self.namespace)}/{plural}"
        return f"{path}/{quote(name)}" if name else path

    def ask(
        self, method: str, path: str, body: Any = None, accept: str = _JSON, impersonate: str = ""
    ) -> Answer:
        """Make one request, and return the answer also where it is a refusal.

        `UserError` if the cluster cannot be reached, does not accept the credentials, or answers
        with errors of its own. To `impersonate` another user needs a right of its own.
        """
        from kubernetes.client.exceptions import ApiException

        headers = {"Accept": accept, "Content-Type": _JSON}
        headers |= {"Impersonate-User": impersonate} if impersonate else {}

        how: dict[str, Any] = {"header_params": headers, "auth_settings": ["BearerToken"]}
        how |= {"_preload_content": False, "_request_timeout": _TIMEOUT}

        def once() -> Answer:
            try:
                response, _, _ = self.client.call_api(path, method, body=body, **how)
            except ApiException as error:
                if error.status in _ANSWERS:
                    return Answer(error.status, _text(error.body))
                raise
            return Answer(response.status, _text(response.data))

        asked = Request(method, Resource("", "", path, path), self.namespace, "", self.host)
        return self.retry_policy.call(once, asked)


def unread(name: str, what: str, answer: Answer) -> Finding:
    """The finding where something may not or cannot be read."""
    said = str(answer.found.get("message") or answer.text).strip()[:200]
    why = f"{what} cannot be read ({answer.status}: {said})"
    return skipped(name, f"you may not read {what}" if answer.status == 403 else why)


def _text(body: bytes | str | None) -> str:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
