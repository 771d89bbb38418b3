"""What a step relies on, tried from inside the cluster, in a step's own pod."""

import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.preflight.finding import CheckFailed, CheckWarning

_SECONDS = 5

KFP_VARIABLE = "PREFLIGHT_KFP"
"""Environment variable with the address of Kubeflow Pipelines inside the cluster."""


def check_image() -> str:
    """The user that the image runs as."""
    if os.getuid() == 0:
        raise CheckFailed("it runs as root")
    code = os.environ.get("CODE_VERSION")
    text = f"starts as user {os.getuid()}, Python {platform.python_version()}"
    return f"{text}, code {code[:12]}" if code else text


def check_kubernetes() -> str:
    """Ask the API server as the pod's service account."""
    from kubernetes.client import VersionApi
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    from components.shared.kubernetes.connection import connect

    client, _ = connect()
    host = client.configuration.host
    try:
        version = VersionApi(client).get_code(_request_timeout=_SECONDS)
    except (ApiException, HTTPError) as error:
        raise CheckFailed(f"{host} cannot be asked ({error})") from None
    return f"{host} answers, {version.git_version}"


def check_storage() -> str:
    """Write to the shared volume, read it back, remove it."""
    folder = Path(_variable("STATE_DIR"))
    try:
        with tempfile.NamedTemporaryFile("w+", prefix=".preflight-", dir=folder) as file:
            file.write("written")
            file.flush()
            read = Path(file.name).read_text(encoding="utf-8")
    except OSError as error:
        text = f"user {os.getuid()} cannot write to {folder} ({error.strerror})"
        raise CheckFailed(text) from None
    if read != "written":
        raise CheckFailed(f"{folder} gives back other bytes than were written")
    return f"{folder} is writable, {shutil.disk_usage(folder).free / 2**30:.0f} GiB free"


def check_feature_store() -> str:
    """Connect to the feature store's Postgres by libpq's variables, and ask for its rights."""
    import psycopg

    where = f"{os.environ.get('PGHOST')}:{os.environ.get('PGPORT')}"
    try:
        with psycopg.connect(connect_timeout=_SECONDS) as connection:
            version = connection.info.server_version // 10000
            row = connection.execute(
                "SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')"
            ).fetchone()
    except psycopg.Error as error:
        raise CheckFailed(f"Postgres at {where}: {error}") from None
    schema, allowed = row or ("public", False)
    if not allowed:
        raise CheckFailed(f"{os.environ.get('PGUSER')} may not create tables in schema {schema}")
    return f"Postgres {version} at {where}, tables can be made"


def check_mlflow() -> str:
    """Ask MLflow for its experiments too: its health says nothing of a host name refused."""
    experiments = "/api/2.0/mlflow/experiments/search?max_results=1"
    text = _answers("MLFLOW_TRACKING_URI", "/health", experiments, login=True)
    with contextlib.suppress(CheckFailed):
        version = _fetch(f"{_server('MLFLOW_TRACKING_URI')}/version", login=True)
        text += f", version {version.strip()}"
    return text


def check_artifacts() -> str:
    """List the top of MLflow's artifact store through its server."""
    uri = _server("MLFLOW_TRACKING_URI")
    try:
        _fetch(f"{uri}/api/2.0/mlflow-artifacts/artifacts", login=True)
    except CheckFailed as error:
        raise CheckFailed(f"MLflow's server does not reach its artifact store: {error}") from None
    return "MLflow's server lists its artifact store"


def check_pipelines() -> str:
    """Ask Kubeflow Pipelines for its health."""
    return _answers(KFP_VARIABLE, "/apis/v2beta1/healthz")


def check_prometheus() -> str:
    """Ask Prometheus for a constant."""
    try:
        return _answers("PROMETHEUS_URL", "/api/v1/query?query=1")
    except CheckFailed as error:
        raise CheckWarning(f"{error}; a canary is not judged without it") from None


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("steps image", check_image),
    ("Kubernetes API", check_kubernetes),
    ("shared volume", check_storage),
    ("feature store", check_feature_store),
    ("MLflow", check_mlflow),
    ("MLflow's artifacts", check_artifacts),
    ("Pipelines API inside", check_pipelines),
    ("Prometheus", check_prometheus),
)
"""What the reader calls them, in order."""


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise CheckFailed(f"{name} is not set")
    return value


def _server(variable: str) -> str:
    uri = _variable(variable).rstrip("/")
    if not uri.startswith(("http://", "https://")):
        raise CheckFailed(f"{variable} names no server; it has to begin with http:// or https://")
    return uri


def _answers(variable: str, *paths: str, login: bool = False) -> str:
    uri = _server(variable)
    for path in paths:
        _fetch(f"{uri}{path}", login=login)
    return f"{uri} answers"


def _fetch(url: str, *, login: bool = False) -> str:
    """The body of an answer, with the login that MLflow's own client would send."""
    import httpx

    how: dict[str, Any] = {"timeout": _SECONDS, "follow_redirects": True}
    if login and (token := os.environ.get("MLFLOW_TRACKING_TOKEN")):
        how["headers"] = {"Authorization": f"Bearer {token}"}
    elif login and (user := os.environ.get("MLFLOW_TRACKING_USERNAME")):
        how["auth"] = (user, os.environ.get("MLFLOW_TRACKING_PASSWORD", ""))
    try:
        answer = httpx.get(url, **how)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CheckFailed(f"{url} cannot be reached ({error})") from None
    if answer.is_error:
        said = " ".join(answer.text[:300].split()) or answer.reason_phrase
        raise CheckFailed(f"{url} answers {answer.status_code}: {said}")
    return answer.text
