import io
import os
import re
from contextlib import redirect_stdout
from unittest.mock import MagicMock, patch

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.preflight import inside
from components.preflight.finding import CheckFailed, CheckWarning, from_log, try_and_print
from components.preflight.gpu import check_gpu
from components.shared.kubernetes import connection
from components.shared.kubernetes.connection import connect
from components.shared.machine.files import read_json
from pipelines.preflight import preflight_pipeline
from pipelines.running.local import run_locally
from tests.stand_ins.api_server import ApiServer, kubeconfig

CLOSED = "http://127.0.0.1:9"
VERSION = ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor")
VERSION += ("platform",)


@pytest.fixture
def server(monkeypatch):
    """MLflow, Kubeflow Pipelines and Prometheus at one address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    mlflow = ("/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow-artifacts/artifacts")
    objects = {path: {} for path in (*mlflow, "/apis/v2beta1/healthz", "/api/v1/query")}
    server = ApiServer(objects=objects | {"/health": "OK", "/version": "3.17.2"})
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("PROMETHEUS_URL", server.url + "/")
    monkeypatch.setenv(inside.KFP_VARIABLE, server.url)
    yield server
    server.close()


def run(*names):
    """State and text of checks by name, as read back from what they print."""
    checks = {**dict(inside.CHECKS), "GPU": check_gpu}
    printed = io.StringIO()
    with redirect_stdout(printed):
        try_and_print([(name, checks[name]) for name in names])
    return {one.name: f"{one.state.value} {one.text}" for one in from_log(printed.getvalue())}


def test_servers_that_answer(server):
    assert run("MLflow", "MLflow's artifacts", "Pipelines API inside", "Prometheus") == {
        "MLflow": f"passed {server.url} answers, version 3.17.2",
        "MLflow's artifacts": "passed MLflow's server lists its artifact store",
        "Pipelines API inside": f"passed {server.url} answers",
        "Prometheus": f"passed {server.url} answers",
    }
    server.refused["GET /version"] = (404, "an older one")
    assert run("MLflow")["MLflow"] == f"passed {server.url} answers"


def test_an_image_that_runs_as_root_is_refused(server, monkeypatch):
    assert run("steps image")["steps image"].startswith("passed starts as user 10001, Python 3.")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert run("steps image") == {"steps image": "FAILED it runs as root"}


def test_what_cannot_be_reached_is_named(server, monkeypatch):
    refused = (403, "Invalid Host header - possible DNS rebinding attack detected")
    server.refused["GET /api/2.0/mlflow/experiments/search"] = refused
    assert re.match("FAILED .*answers 403: .*Invalid Host header", run("MLflow")["MLflow"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", CLOSED)
    monkeypatch.setenv("PROMETHEUS_URL", CLOSED)
    said = run("MLflow", "MLflow's artifacts", "Prometheus", "Pipelines API inside")
    assert re.match(f"FAILED {CLOSED}/health cannot be.*Connection refused", said["MLflow"])
    assert "server does not reach its artifact store" in said["MLflow's artifacts"]
    assert said["Prometheus"].startswith("warning ")
    assert said["Pipelines API inside"].startswith("passed ")


def test_mlflow_is_asked_as_its_own_client_would(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    assert "secret" not in str(run("MLflow"))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    run("MLflow")
    basic, bearer = (h["Authorization"] for path, h, _ in server.sent if path == "/health")
    assert (basic, bearer) == ("Basic a2ltOnNlY3JldA==", "Bearer token")


@pytest.mark.parametrize("uri", ["sqlite:////state/mlflow.db", "mlflow:5000", ""])
def test_what_is_not_a_server_is_named(monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert run("MLflow")["MLflow"].startswith("FAILED MLFLOW_TRACKING_URI ")


def test_the_shared_volume_is_written_to_and_left_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert run("shared volume")["shared volume"].startswith(f"passed {tmp_path} is writable, ")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "not-mounted"))
    said = run("shared volume")["shared volume"]
    assert re.fullmatch(r"FAILED user .*\(No such file or directory\)", said)


def test_a_database_that_cannot_be_reached(monkeypatch):
    for name, value in (("PGHOST", "127.0.0.1"), ("PGPORT", "9"), ("PGPASSWORD", "secret")):
        monkeypatch.setenv(name, value)
    said = run("feature store")["feature store"]
    assert re.match(r"FAILED Postgres at 127\.0\.0\.1:9: (.|\n)*refused", said)
    assert "secret" not in said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("public", True), "passed Postgres 17 at db:5432, tables can be made"),
        (("public", False), "FAILED feast may not create tables in schema public"),
        ((None, None), "FAILED feast may not create tables in schema None"),
    ],
)
def test_the_rights_in_the_database(monkeypatch, row, said):
    connection = MagicMock()
    connection.__enter__.return_value = connection
    connection.info.server_version = 170002
    connection.execute.return_value.fetchone.return_value = row
    monkeypatch.setattr(psycopg, "connect", lambda **_: connection)
    for name, value in (("PGHOST", "db"), ("PGPORT", "5432"), ("PGUSER", "feast")):
        monkeypatch.setenv(name, value)
    assert run("feature store")["feature store"] == said


@pytest.mark.parametrize(
    ("cuda", "gpus", "one", "said"),
    [
        ("13.0", 2, 1.0, "passed 2 x NVIDIA L4, CUDA 13.0"),
        ("13.0", 2, 0.5, "FAILED the GPU multiplies wrongly"),
        ("13.0", 0, 1.0, "sees no GPU; the driver"),
        (None, 0, 1.0, "of the image is built without CUDA"),
    ],
)
def test_a_gpu_passes_once_it_multiplies(monkeypatch, cuda, gpus, one, said):
    import torch

    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA L4")
    monkeypatch.setattr("torch.ones", lambda *shape, dtype, device: torch.full(shape, one))
    assert said in run("GPU")["GPU"]


def test_the_api_server_is_asked_as_the_service_account(monkeypatch, tmp_path):
    api = ApiServer(objects={"/version/": dict.fromkeys(VERSION, "") | {"gitVersion": "v1.34.2"}})
    client, _ = connect(kubeconfig=kubeconfig(tmp_path, api.url))
    monkeypatch.setattr(connection, "connect", lambda: (client, "reviews"))
    assert run("Kubernetes API")["Kubernetes API"] == f"passed {api.url} answers, v1.34.2"
    api.refused[".*"] = (401, "Unauthorized")
    assert run("Kubernetes API")["Kubernetes API"].startswith(f"FAILED {api.url} cannot be asked")
    api.close()


@given(st.text(), st.sampled_from([None, CheckWarning, CheckFailed, ValueError]))
def test_whatever_a_check_says_is_one_line_that_is_read_back(said, raised):
    def one():
        if raised:
            raise raised(said)
        return said

    with patch.object(inside, "CHECKS", (("MLflow", one),)):
        found = run("MLflow")["MLflow"]
    assert found.startswith({None: "passed", CheckWarning: "warning"}.get(raised, "FAILED"))
    assert " ".join(said.split())[:500] in found


@pytest.mark.slow
def test_the_pipeline_runs_here_too(tmp_path, server, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    given = {"kfp_url": server.url, "gpu": "no", "predictor": "no"}
    state = tmp_path / "state"
    done = run_locally(preflight_pipeline, given, runs=tmp_path / "runs", state=state, quiet=True)
    seen = {one["name"]: one for one in read_json(done.artifact("check-from-inside", "findings"))}
    assert list(seen) == [name for name, _ in inside.CHECKS]
    for name in ("shared volume", "MLflow", "MLflow's artifacts", "Prometheus"):
        assert seen[name]["state"] == "passed", seen[name]
    assert seen["Pipelines API inside"]["text"] == f"{server.url} answers"
    assert seen["Kubernetes API"]["state"] == "FAILED"
    assert list(done.seconds) == ["check-from-inside"]
