"""Whether Kubeflow Pipelines answers where `make submit` would send a run."""

import json
import os

from components.preflight.api import Api
from components.preflight.finding import Finding, failed, not_checked, ok

_HEALTH = "/apis/v2beta1/healthz"
_NAME = "Pipelines API"
_TOKEN = "KFP_TOKEN"  # noqa: S105 - the name of a variable, not a secret
_SECONDS = (3, 5)


def check_pipelines_api(api: Api, endpoint: str, namespace: str) -> list[Finding]:
    """Ask the endpoint for its health, or the service through the API server as the SDK does.

    Args:
        api: The cluster.
        endpoint: Address of Kubeflow Pipelines; empty goes through the API server.
        namespace: Where Kubeflow Pipelines is installed.
    """
    if endpoint:
        return [_ask_endpoint(endpoint.rstrip("/"), namespace)]
    service = f"/api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy"
    answer = api.get(service + _HEALTH)
    where = f"service ml-pipeline in namespace {namespace}"
    if answer.good:
        return [ok(_NAME, f"{where} answers through the API server{_told(answer.text)}")]
    if answer.status == 404:
        told = f"there is no {where}; install Kubeflow Pipelines, or say where it answers"
        return [failed(_NAME, told, "make preflight KFP_ENDPOINT=https://…")]
    return [
        not_checked(
            _NAME,
            f"you may not reach the {where} through the API server ({answer.status})",
            f"{_forward(namespace)}\nmake preflight KFP_ENDPOINT=http://localhost:8888",
        )
    ]


def _ask_endpoint(endpoint: str, namespace: str) -> Finding:
    import requests

    token = os.environ.get(_TOKEN)
    try:
        answer = requests.get(
            endpoint + _HEALTH,
            timeout=_SECONDS,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            allow_redirects=False,
        )
    except requests.RequestException as error:
        told = f"{endpoint} cannot be reached ({type(error).__name__}); if it is forwarded, start"
        return failed(_NAME, f"{told} the forwarding", _forward(namespace))
    if answer.is_redirect or answer.status_code in (401, 403):
        told = f"{endpoint} asks for a login ({answer.status_code}), which submitting needs too"
        token_of = (
            f"export {_TOKEN}=$(kubectl create token <account> --audience pipelines.kubeflow.org)"
        )
        return failed(_NAME, told, token_of)
    if answer.status_code != 200 or not _is_health(answer.text):
        told = f"{endpoint} answers {answer.status_code}, and not as Kubeflow Pipelines"
        return failed(_NAME, told, f"curl {endpoint}{_HEALTH}")
    return ok(_NAME, f"{endpoint} answers{_told(answer.text)}")


def _forward(namespace: str) -> str:
    return f"kubectl -n {namespace} port-forward service/ml-pipeline 8888"


def _is_health(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _told(text: str) -> str:
    """What the answer says of itself; the service leaves out what is false."""
    found = json.loads(text) if _is_health(text) else {}
    version = found.get("apiServerTagName") or found.get("tag_name")
    several = "multi-user" if found.get("multi_user") else ""
    said = ", ".join(word for word in (version, several) if word)
    return f" ({said})" if said else ""
