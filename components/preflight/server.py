"""Whether the API server answers, knows the user, and is new enough."""

import re

from components.preflight.api import Api
from components.preflight.finding import Finding, ok, warning
from components.shared.machine.errors import UserError

_OLDEST = (1, 31)
"""Kubernetes that Kubeflow Trainer 2.3 asks for; KServe 0.20 and Katib 0.19 run on older ones."""


def check_server(api: Api) -> list[Finding]:
    """Version of the API server, and who asks.

    Raises:
        UserError: If it cannot be reached, is none, or does not accept the credentials.
    """
    answer = api.get("/version")
    said = str(answer.found.get("gitVersion") or "")
    found = re.match(r"v?(\d+)\.(\d+)", said)
    if not answer.good or not found:
        raise UserError(
            f"what answers at {api.host} is not a Kubernetes API server ({answer.status} at "
            "/version); check the server in the kubeconfig"
        )
    name = _user(api)
    told = f"Kubernetes {said}" + (f", you are {name}" if name else "")
    if (int(found[1]), int(found[2])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        return [warning("API server", f"{told}; Kubeflow Trainer needs {oldest} or later")]
    if not api.client.configuration.verify_ssl:
        return [warning("API server", f"{told}; the kubeconfig does not check its certificate")]
    return [ok("API server", told)]


def _user(api: Api) -> str:
    """Name of the user, as the API knows it.

    `/version` is answered to everyone, so this is what tells whether the credentials are valid.

    Raises:
        UserError: If they are not.
    """
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = api.ask("POST", path, body=body)
    if answer.status == 403 and "system:anonymous" in answer.message:
        raise UserError(
            f"the kubeconfig brings no credentials that the cluster at {api.host} knows: it takes "
            "you for system:anonymous; log in again"
        )
    status = answer.found.get("status") or {}
    return str((status.get("userInfo") or {}).get("username") or "")
