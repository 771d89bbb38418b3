"""What a probe pod finds out from inside the cluster.

It prints a line for each check, `name=ok|warning|failed what was found`, and exits with code 1 if
one failed. The text of this file is the pod's command, `python -c`, because not every image holds
this room; so it imports nothing of the project.
"""

import base64
import json
import os
import platform
import shutil
import ssl
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

_SECONDS = 5
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

KFP_VARIABLE = "PREFLIGHT_KFP"
"""Environment variable with the address of Kubeflow Pipelines inside the cluster."""


class Amiss(Exception):  # noqa: N818 - the outcome of a check, not a fault of this program
    """The check failed, told in words."""


class Doubtful(Exception):  # noqa: N818
    """Most of the pipelines run without it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks that are named.

    Args:
        arguments: Names of `CHECKS`; those of the process where None.

    Returns:
        The exit code.
    """
    any_failed = False
    for name in ["image", *(sys.argv[1:] if arguments is None else arguments)]:
        try:
            state, told = "ok", CHECKS[name]()
        except Doubtful as doubt:
            state, told = "warning", str(doubt)
        except Exception as error:  # whatever it is, it is an answer to the question
            state = "failed"
            told = str(error) if isinstance(error, Amiss) else f"{type(error).__name__}: {error}"
        any_failed |= state == "failed"
        print(f"{name}={state} {' '.join(told.split())[:600]}", flush=True)
    return int(any_failed)


def _image() -> str:
    """The user that the image runs as."""
    if os.getuid() == 0:
        raise Amiss("it runs as root")
    code = os.environ.get("CODE_VERSION")
    told = f"starts as user {os.getuid()}, Python {platform.python_version()}"
    return f"{told}, code {code[:12]}" if code else told


def _storage() -> str:
    """Write to the shared volume, read it back, remove it."""
    folder = Path(_variable("STATE_DIR"))
    probe = folder / f".preflight-{uuid.uuid4().hex}"
    try:
        probe.write_text("written", encoding="utf-8")
        read = probe.read_text(encoding="utf-8")
        probe.unlink()
    except OSError as error:
        raise Amiss(f"user {os.getuid()} cannot write to {folder} ({error.strerror})") from None
    if read != "written":
        raise Amiss(f"{folder} gives back other bytes than were written")
    return f"{folder} is writable, {shutil.disk_usage(folder).free / 2**30:.0f} GiB free"


def _mlflow() -> str:
    """Ask MLflow for its version and its experiments.

    Its health address alone would not do: it answers also where the API refuses the host name.
    """
    uri = _server("MLFLOW_TRACKING_URI")
    _fetch(f"{uri}/health", _mlflow_login())
    _fetch(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1", _mlflow_login())
    try:
        version = f", version {_fetch(f'{uri}/version', _mlflow_login()).strip()}"
    except Amiss:
        version = ""
    return f"{uri} answers{version}"


def _artifacts() -> str:
    """List the top of MLflow's artifact store through its server."""
    uri = _server("MLFLOW_TRACKING_URI")
    try:
        _fetch(f"{uri}/api/2.0/mlflow-artifacts/artifacts", _mlflow_login())
    except Amiss as error:
        raise Amiss(f"MLflow's server does not reach its artifact store: {error}") from None
    return "MLflow's server lists its artifact store"


def _feature_store() -> str:
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
        raise Amiss(f"Postgres at {where}: {error}") from None
    if row is None or not row[1]:
        schema = row[0] if row else "public"
        raise Amiss(f"{os.environ.get('PGUSER')} may not create tables in schema {schema}")
    return f"Postgres {version} at {where}, tables can be made"


def _prometheus() -> str:
    """Ask Prometheus for a constant."""
    try:
        uri = _server("PROMETHEUS_URL")
        _fetch(f"{uri}/api/v1/query?query=1")
    except Amiss as error:
        raise Doubtful(f"{error}; a canary is not judged without it") from None
    return f"{uri} answers"


def _kubernetes() -> str:
    """Ask the API server as the pod's service account."""
    host = f"https://{_variable('KUBERNETES_SERVICE_HOST')}:{_variable('KUBERNETES_SERVICE_PORT')}"
    token = (_ACCOUNT / "token").read_text(encoding="utf-8")
    trusted = ssl.create_default_context(cafile=str(_ACCOUNT / "ca.crt"))
    said = _fetch(f"{host}/version", {"Authorization": f"Bearer {token}"}, trusted)
    return f"{host} answers, {json.loads(said)['gitVersion']}"


def _pipelines() -> str:
    """Ask Kubeflow Pipelines for its health."""
    uri = _server(KFP_VARIABLE)
    _fetch(f"{uri}/apis/v2beta1/healthz")
    return f"{uri} answers"


def _gpu() -> str:
    """Multiply on the GPU."""
    import torch

    if torch.version.cuda is None:
        raise Amiss(f"torch {torch.__version__} of the image is built without CUDA")
    if not torch.cuda.is_available():
        raise Amiss(
            f"torch {torch.__version__} sees no GPU; the driver of the node is too old for CUDA "
            f"{torch.version.cuda}, or the device plugin does not hand it through"
        )
    square = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
    if (square @ square).float().sum().item() != 64**3:
        raise Amiss("the GPU multiplies wrongly")
    return (
        f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    )


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise Amiss(f"{name} is not set")
    return value


def _server(variable: str) -> str:
    """The address that a variable names, without a slash at its end."""
    uri = _variable(variable).rstrip("/")
    if not uri.startswith(("http://", "https://")):
        raise Amiss(f"{variable} names no server; it has to begin with http:// or https://")
    return uri


def _mlflow_login() -> dict[str, str]:
    """The headers that MLflow's own client would send."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        both = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    return {}


def _fetch(
    url: str, headers: dict[str, str] | None = None, trusted: ssl.SSLContext | None = None
) -> str:
    """The body of an answer, or why there is none."""
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - see _server
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=trusted) as answer:  # noqa: S310
            return answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(300).decode("utf-8", "replace").split())
        raise Amiss(f"{url} answers {error.code}: {said or error.reason}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise Amiss(f"{url} cannot be reached ({why})") from None


CHECKS: dict[str, Callable[[], str]] = {
    "image": _image,
    "kubernetes": _kubernetes,
    "storage": _storage,
    "feature-store": _feature_store,
    "mlflow": _mlflow,
    "artifacts": _artifacts,
    "pipelines": _pipelines,
    "prometheus": _prometheus,
    "gpu": _gpu,
}

if __name__ == "__main__":
    raise SystemExit(main())
