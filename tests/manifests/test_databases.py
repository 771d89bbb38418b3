import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from components.shared.machine.ports import free_port
from tests.deployment.conftest import until
from tests.features.test_postgres import postgres, pytestmark  # noqa: F401 (a fixture, and marks)
from tests.manifests.conftest import MANIFESTS, build, named, pods_of

SCRIPT = MANIFESTS / "base" / "feature-store" / "databases.sh"
CLIENTS = ("feature_store", "mlflow")


@pytest.fixture(scope="module")
def clients(postgres):  # noqa: F811 (the fixture)
    """Each client's connection by libpq's names, after the image's first start."""
    found = {}
    environment = {**os.environ, **postgres, "POSTGRES_USER": postgres["PGUSER"]}
    for name in CLIENTS:
        # As `openssl rand` never makes one, and as a person may.
        own = {"DATABASE": name, "USER": name, "PASSWORD": f'{name}\'s "$word" \\ :x'}
        found[name] = postgres | {f"PG{field}": value for field, value in own.items()}
        environment |= {f"{name.upper()}_{field}": value for field, value in own.items()}
    subprocess.run(["sh", str(SCRIPT)], env=environment, check=True, capture_output=True)
    return found


def connect(client, database=""):
    given = {name[2:].lower(): value for name, value in client.items() if name != "PGDATABASE"}
    return psycopg.connect(dbname=database or client["PGDATABASE"], **given)


@pytest.mark.parametrize(("name", "other"), [CLIENTS, CLIENTS[::-1]])
def test_each_client_has_a_database_of_its_own_and_no_other(name, other, clients):
    with connect(clients[name]) as connection:
        connection.execute("CREATE TABLE t (a int)")
        rights = "rolsuper OR rolcreatedb OR rolcreaterole"
        asked = f"SELECT {rights} FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(asked).fetchone() == (False,)
        connection.rollback()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(clients[name], other)


def test_the_script_reads_the_statefulsets_variables():
    ((_, pod),) = pods_of(named(build(MANIFESTS / "overlays" / "small"), "StatefulSet"))
    given = {variable["name"] for variable in pod["containers"][0]["env"]}
    read = set(re.findall(r"\$([A-Z_]+)", SCRIPT.read_text()))
    assert read == {name for name in given if name in read}
    assert {f"{client.upper()}_PASSWORD" for client in CLIENTS} <= read


def test_mlflow_starts_as_the_deployment_says_and_answers_its_names(clients, tmp_path):
    objects = build(MANIFESTS / "overlays" / "small")
    ((_, pod),) = pods_of(named(objects, "Deployment"))
    (container,) = pod["containers"]
    data = named(objects, "ConfigMap", "review-sentiment-mlflow")["data"]
    data = data | {"MLFLOW_ARTIFACTS_DESTINATION": str(tmp_path)}
    port = free_port("127.0.0.1", 0)
    arguments = [re.sub(r"\$\((\w+)\)", lambda m: data[m[1]], arg) for arg in container["args"]]
    arguments[arguments.index("--port=5000")] = f"--port={port}"
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    environment |= clients["mlflow"] | data | {"HOME": str(tmp_path)}
    environment |= {variable["name"]: variable["value"] for variable in container["env"]}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (tmp_path / "log").open("w") as log:
        command, output = [*container["command"], *arguments], {"stdout": log, "stderr": log}
        server = subprocess.Popen(
            command, env=environment, cwd=tmp_path, start_new_session=True, **output
        )
    try:
        path = container["startupProbe"]["httpGet"]["path"]
        until(lambda: server.poll() or ask(port, path, "10.1.2.3:5000") == 200, 120)
        assert server.poll() is None, (tmp_path / "log").read_text()
        experiments = "/api/2.0/mlflow/experiments/get?experiment_id=0"
        for host in ("mlflow:5000", "mlflow.kubeflow.svc.cluster.local:5000", "localhost:8080"):
            assert ask(port, experiments, host) == 200
        assert ask(port, experiments, "rebound.example.com") == 403
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(port, path, host):
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}{path}", headers={"Host": host}).status_code
    return None
