"""Whether Kubeflow Pipelines answers where `make submit` would send a run."""

import json
import os
from typing import Any

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
        return [_ask_endpoint(api, endpoint.rstrip("/"), namespace)]
    service = f"/api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy"
    answer = api.get(service + _HEALTH)
    where = f"service ml-pipeline in namespace {namespace}"
    if answer.good:
        return [_judge(api, f"{where} answers through the API server", answer.found, namespace)]
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


def _ask_endpoint(api: Api, endpoint: str, namespace: str) -> Finding:
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
    health = _health(answer.text)
    if answer.status_code != 200 or health is None:
        told = f"{endpoint} answers {answer.status_code}, and not as Kubeflow Pipelines"
        return failed(_NAME, told, f"curl {endpoint}{_HEALTH}")
    return _judge(api, f"{endpoint} answers", health, namespace)


def _judge(api: Api, told: str, health: dict[str, Any], namespace: str) -> Finding:
    """What the answer says of itself, and whether runs go to the namespace that is checked.

    Standalone, all runs are in the namespace of Kubeflow Pipelines; for several users, none is.
    """
    several = health.get("multi_user")
    said = (health.get("apiServerTagName"), "multi-user" if several else "")
    told += f" ({', '.join(word for word in said if word)})" if any(said) else ""
    if health.get("apiServerReady") is False:
        # The dashboard's server answers for the one behind it, whether that is up or not.
        logs = f"kubectl -n {namespace} logs deployment/ml-pipeline --tail 20"
        return failed(_NAME, f"{told}, but the API server of Pipelines behind it does not", logs)
    if several and api.namespace == namespace:
        told += f"; runs go to a profile's namespace, not to {namespace}"
        return failed(_NAME, told, "make preflight NAMESPACE=…   # of your profile")
    if several is False and api.namespace != namespace:
        told += f", for one user: all runs go to namespace {namespace}, not to {api.namespace}"
        return failed(_NAME, told, f"make preflight NAMESPACE={namespace}")
    return ok(_NAME, told)


def _forward(namespace: str) -> str:
    return f"kubectl -n {namespace} port-forward service/ml-pipeline 8888"


def _health(text: str) -> dict[str, Any] | None:
    """The answer as an object; None where it is something else, as a page to log in."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
