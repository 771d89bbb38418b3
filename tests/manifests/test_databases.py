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

from components.shared.kubernetes.namespace_objects import MLFLOW_LOGIN_SECRET
from components.shared.machine.errors import UserError
from components.shared.machine.ports import free_port
from components.shared.machine.tracking import (
    TRACKING_URI,
    errors_in_words,
    experiment_id,
    tracking_client,
)
from pipelines.running.step_settings import MLFLOW_LOGIN_KEYS
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


LOGIN = {
    "MLFLOW_TRACKING_USERNAME": "pipeline",
    "MLFLOW_TRACKING_PASSWORD": "pa%s@/:ss and more",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "signs the forms",
}
"""The Secret that README.md makes."""

PIPELINE = (LOGIN["MLFLOW_TRACKING_USERNAME"], LOGIN["MLFLOW_TRACKING_PASSWORD"])


@pytest.fixture(scope="module")
def mlflow_server(clients, tmp_path_factory):
    """MLflow as the Deployment starts it, on a port of this machine; the path of its probe."""
    folder = tmp_path_factory.mktemp("mlflow")
    objects = build(MANIFESTS / "overlays" / "small")
    ((_, pod),) = pods_of(named(objects, "Deployment"))
    (container,) = pod["containers"]
    data = named(objects, "ConfigMap", "review-sentiment-mlflow")["data"]
    data = data | {"MLFLOW_ARTIFACTS_DESTINATION": str(folder)}
    port = free_port("127.0.0.1", 0)
    arguments = [re.sub(r"\$\((\w+)\)", lambda m: data[m[1]], arg) for arg in container["args"]]
    arguments[arguments.index("--port=5000")] = f"--port={port}"
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    environment |= clients["mlflow"] | data | {"HOME": str(folder)}
    for variable in container["env"]:
        source = (variable.get("valueFrom") or {}).get("secretKeyRef")
        environment[variable["name"]] = LOGIN[source["key"]] if source else variable["value"]
    for name, text in named(objects, "ConfigMap", MLFLOW_LOGIN_SECRET)["data"].items():
        (folder / name).write_text(text)
    mounted = Path(environment["MLFLOW_AUTH_CONFIG_PATH"])
    assert str(mounted.parent) in [mount["mountPath"] for mount in container["volumeMounts"]]
    environment["MLFLOW_AUTH_CONFIG_PATH"] = str(folder / mounted.name)
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (folder / "log").open("w") as log:
        command, output = [*container["command"], *arguments], {"stdout": log, "stderr": log}
        server = subprocess.Popen(
            command, env=environment, cwd=folder, start_new_session=True, **output
        )
    try:
        path = container["startupProbe"]["httpGet"]["path"]
        until(lambda: server.poll() or ask(port, path, "10.1.2.3:5000") == 200, 120)
        assert server.poll() is None, (folder / "log").read_text()
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(port, path, host="mlflow:5000", user=None, **content):
    address = f"http://127.0.0.1:{port}{path}"
    with suppress(httpx.TransportError):
        method = "POST" if content else "GET"
        headers = {"Host": host}
        return httpx.request(method, address, headers=headers, auth=user, **content).status_code
    return None


def test_mlflow_answers_its_names_and_no_other(mlflow_server):
    experiments = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    for host in ("mlflow:5000", "mlflow.kubeflow.svc.cluster.local:5000", "localhost:8080"):
        assert ask(mlflow_server, experiments, host, PIPELINE) == 200
    assert ask(mlflow_server, experiments, "rebound.example.com", PIPELINE) == 403


ALIAS = "/api/2.0/mlflow/registered-models/alias"
LOOKED_AT = "/api/2.0/mlflow/registered-models/get"
CHAMPION = {"name": "review-sentiment", "alias": "champion", "version": "1"}


def test_only_the_steps_login_moves_the_champion(mlflow_server, monkeypatch, tmp_path):
    monkeypatch.setenv(TRACKING_URI, f"http://127.0.0.1:{mlflow_server}")
    for key in MLFLOW_LOGIN_KEYS:
        monkeypatch.delenv(key, raising=False)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_USERNAME"), errors_in_words():
        tracking_client().create_registered_model("review-sentiment")
    for key in MLFLOW_LOGIN_KEYS:
        monkeypatch.setenv(key, LOGIN[key])
    client = tracking_client()
    run = client.create_run(experiment_id(client, "training", injected=False))
    (tmp_path / "model.txt").write_text("whole")
    client.log_artifact(run.info.run_id, str(tmp_path / "model.txt"))
    client.create_registered_model("review-sentiment")
    client.create_model_version("review-sentiment", f"{run.info.artifact_uri}", run.info.run_id)
    assert ask(mlflow_server, ALIAS, json=CHAMPION) == 401
    assert ask(mlflow_server, ALIAS, user=("pipeline", "guess"), json=CHAMPION) == 401
    # A person looks, and cannot move it.
    kim = ("kim", "a long password")
    made = {"username": kim[0], "password": kim[1]}
    assert ask(mlflow_server, "/api/2.0/mlflow/users/create", json=made) == 401
    assert ask(mlflow_server, "/api/2.0/mlflow/users/create", user=PIPELINE, json=made) == 200
    assert ask(mlflow_server, f"{LOOKED_AT}?name=review-sentiment", user=kim) == 200
    assert ask(mlflow_server, ALIAS, user=kim, json=CHAMPION) == 403
    assert client.get_registered_model("review-sentiment").aliases == {}
    client.set_registered_model_alias("review-sentiment", "champion", "1")
    assert client.get_registered_model("review-sentiment").aliases == {"champion": "1"}
