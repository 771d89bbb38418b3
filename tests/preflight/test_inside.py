"""What the steps of the preflight see, against real servers and closed ports."""

import io
import json
import os
import socket
import threading
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, HTTPServer
from unittest.mock import patch

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

VERSION = ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor")
VERSION += ("platform",)


class Server:
    """Answers each address with a status and a body, and keeps the headers it was sent."""

    def __init__(self, answers):
        self.answers, self.headers = answers, {}
        self.http = HTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"server_of": self}))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server_of.headers[self.path] = dict(self.headers)
        status, body = self.server_of.answers.get(self.path.partition("?")[0], (404, "not here"))
        payload = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server(
        {
            "/health": (200, "OK"),
            "/version": (200, "3.17.2"),
            "/api/2.0/mlflow/experiments/search": (200, "{}"),
            "/api/2.0/mlflow-artifacts/artifacts": (200, '{"files": []}'),
            "/apis/v2beta1/healthz": (200, "{}"),
            "/api/v1/query": (200, "{}"),
        }
    )
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("PROMETHEUS_URL", server.url + "/")
    monkeypatch.setenv(inside.KFP_VARIABLE, server.url)
    yield server
    server.close()


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def run(*names):
    """State and text of checks by name, as read back from what they print."""
    checks = {**dict(inside.CHECKS), "GPU": check_gpu}
    printed = io.StringIO()
    with redirect_stdout(printed):
        try_and_print([(name, checks[name]) for name in names])
    return {one.name: f"{one.state.value} {one.text}" for one in from_log(printed.getvalue())}


def test_servers_that_answer(server):
    said = run("MLflow", "MLflow's artifacts", "Pipelines API inside", "Prometheus")

    assert said["MLflow"] == f"passed {server.url} answers, version 3.17.2"
    assert said["MLflow's artifacts"].startswith("passed ")
    assert said["Pipelines API inside"] == f"passed {server.url} answers"
    assert said["Prometheus"] == f"passed {server.url} answers"


def test_an_image_that_runs_as_root_is_refused(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert run("steps image") == {"steps image": "FAILED it runs as root"}
    monkeypatch.setattr(os, "getuid", lambda: 10001)
    assert run("steps image")["steps image"].startswith("passed starts as user 10001, Python 3.")


def test_a_closed_port_is_told(server, monkeypatch, closed_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("PROMETHEUS_URL", f"http://127.0.0.1:{closed_port}")

    said = run("MLflow", "MLflow's artifacts", "Prometheus", "Pipelines API inside")

    assert said["MLflow"].startswith(f"FAILED http://127.0.0.1:{closed_port}/health cannot be")
    assert "Connection refused" in said["MLflow"]
    assert said["MLflow's artifacts"].startswith(
        "FAILED MLflow's server does not reach its artifact store"
    )
    assert said["Prometheus"].startswith("warning ")
    assert said["Pipelines API inside"].startswith("passed ")


def test_mlflow_that_refuses_the_host_name_is_no_mlflow(server):
    refused = (403, "Invalid Host header - possible DNS rebinding attack detected")
    server.answers["/api/2.0/mlflow/experiments/search"] = refused

    said = run("MLflow")

    assert said["MLflow"].startswith("FAILED ")
    assert "answers 403: Invalid Host header" in said["MLflow"]


def test_mlflow_is_asked_as_its_own_client_would(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    said = run("MLflow")
    assert server.headers["/health"]["Authorization"] == "Basic a2ltOnNlY3JldA=="
    assert "secret" not in json.dumps(said)

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    run("MLflow")
    assert server.headers["/health"]["Authorization"] == "Bearer token"


@pytest.mark.parametrize("uri", ["sqlite:////state/mlflow.db", "mlflow:5000", ""])
def test_what_is_no_server_is_told(monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    said = run("MLflow")

    assert said["MLflow"].startswith("FAILED MLFLOW_TRACKING_URI ")


def test_the_shared_volume_is_written_to_and_left_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))

    said = run("shared volume")

    assert said["shared volume"].startswith(f"passed {tmp_path} is writable, ")
    assert list(tmp_path.iterdir()) == []


def test_a_volume_that_cannot_be_written_to(monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "not-mounted"))

    said = run("shared volume")

    assert "cannot write to" in said["shared volume"]
    assert "No such file or directory" in said["shared volume"]


def test_a_database_that_cannot_be_reached(monkeypatch, closed_port):
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(closed_port))
    monkeypatch.setenv("PGPASSWORD", "secret")

    said = run("feature store")

    assert said["feature store"].startswith(f"FAILED Postgres at 127.0.0.1:{closed_port}: ")
    assert "refused" in said["feature store"]
    assert "secret" not in said["feature store"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("public", True), "passed Postgres 17 at db:5432, tables can be made"),
        (("public", False), "FAILED feast may not create tables in schema public"),
        ((None, None), "FAILED feast may not create tables in schema None"),
    ],
)
def test_the_rights_in_the_database(monkeypatch, row, told):
    class Connection:
        info = type("Info", (), {"server_version": 170002})

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def execute(self, _):
            return type("Cursor", (), {"fetchone": lambda _: row})()

    monkeypatch.setattr(psycopg, "connect", lambda **_: Connection())
    monkeypatch.setenv("PGHOST", "db")
    monkeypatch.setenv("PGPORT", "5432")
    monkeypatch.setenv("PGUSER", "feast")

    assert run("feature store")["feature store"] == told


def test_without_a_gpu_torch_says_so(monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "sees no GPU; the driver" in run("GPU")["GPU"]

    monkeypatch.setattr("torch.version.cuda", None)
    assert run("GPU")["GPU"].endswith("of the image is built without CUDA")


@pytest.mark.parametrize(
    ("one", "told"),
    [(1.0, "passed 2 x NVIDIA L4, CUDA 13.0"), (0.5, "FAILED the GPU multiplies wrongly")],
)
def test_a_gpu_is_told_once_it_multiplies(monkeypatch, one, told):
    import torch

    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA L4")
    monkeypatch.setattr("torch.ones", lambda *shape, dtype, device: torch.full(shape, one))

    assert run("GPU")["GPU"].startswith(told)


def test_the_api_server_is_asked_as_the_service_account(monkeypatch, tmp_path):
    api = ApiServer(objects={"/version/": {"gitVersion": "v1.34.2"} | dict.fromkeys(VERSION, "")})
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
    state = {None: "passed", CheckWarning: "warning"}.get(raised, "FAILED")
    assert found.startswith(state)
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
