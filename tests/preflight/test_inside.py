"""What a probe prints, against real servers and closed ports."""

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest

from components.preflight import inside


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


@pytest.fixture
def run(capsys):
    """Runs checks; gives the exit code and what was printed of each."""

    def run(*checks):
        code = inside.main(checks)
        return code, dict(
            line.split("=", 1) for line in capsys.readouterr().out.strip().splitlines()
        )

    return run


def test_servers_that_answer(server, run):
    code, said = run("mlflow", "artifacts", "pipelines", "prometheus")

    assert code == 0
    assert said["mlflow"] == f"ok {server.url} answers, version 3.17.2"
    assert said["artifacts"].startswith("ok ")
    assert said["pipelines"] == f"ok {server.url} answers"
    assert said["prometheus"] == f"ok {server.url} answers"


def test_an_image_that_runs_as_root_is_refused(run, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert run() == (1, {"image": "failed it runs as root"})

    monkeypatch.setattr(os, "getuid", lambda: 10001)
    code, said = run()
    assert code == 0
    assert said["image"].startswith("ok starts as user 10001, Python 3.")


def test_a_closed_port_is_told(server, run, monkeypatch, closed_port):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    monkeypatch.setenv("PROMETHEUS_URL", f"http://127.0.0.1:{closed_port}")

    assert run("prometheus")[0] == 0
    code, said = run("mlflow", "artifacts", "prometheus", "pipelines")

    assert code == 1
    assert said["mlflow"].startswith(f"failed http://127.0.0.1:{closed_port}/health cannot be")
    assert "Connection refused" in said["mlflow"]
    assert said["artifacts"].startswith("failed MLflow's server does not reach its artifact store")
    assert said["prometheus"].startswith("warning ")
    assert said["pipelines"].startswith("ok ")


def test_mlflow_that_refuses_the_host_name_is_no_mlflow(server, run):
    refused = (403, "Invalid Host header - possible DNS rebinding attack detected")
    server.answers["/api/2.0/mlflow/experiments/search"] = refused

    _, said = run("mlflow")

    assert said["mlflow"].startswith("failed ")
    assert "answers 403: Invalid Host header" in said["mlflow"]


def test_mlflow_is_asked_as_its_own_client_would(server, run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "kim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    _, said = run("mlflow")
    assert server.headers["/health"]["Authorization"] == "Basic a2ltOnNlY3JldA=="
    assert "secret" not in json.dumps(said)

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    run("mlflow")
    assert server.headers["/health"]["Authorization"] == "Bearer token"


@pytest.mark.parametrize("uri", ["sqlite:////state/mlflow.db", "mlflow:5000", ""])
def test_what_is_no_server_is_told(run, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    _, said = run("mlflow")

    assert said["mlflow"].startswith("failed MLFLOW_TRACKING_URI ")


def test_the_shared_volume_is_written_to_and_left_as_it_was(run, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path))

    _, said = run("storage")

    assert said["storage"].startswith(f"ok {tmp_path} is writable, ")
    assert list(tmp_path.iterdir()) == []


def test_a_volume_that_cannot_be_written_to(run, monkeypatch, tmp_path):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "not-mounted"))

    _, said = run("storage")

    assert "cannot write to" in said["storage"]
    assert "No such file or directory" in said["storage"]


def test_a_database_that_cannot_be_reached(run, monkeypatch, closed_port):
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", str(closed_port))
    monkeypatch.setenv("PGPASSWORD", "secret")

    code, said = run("feature-store")

    assert code == 1
    assert said["feature-store"].startswith(f"failed Postgres at 127.0.0.1:{closed_port}: ")
    assert "refused" in said["feature-store"]
    assert "secret" not in said["feature-store"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("public", True), "ok Postgres 17 at db:5432, tables can be made"),
        (("public", False), "failed feast may not create tables in schema public"),
        ((None, None), "failed feast may not create tables in schema None"),
    ],
)
def test_the_rights_in_the_database(run, monkeypatch, row, told):
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

    assert run("feature-store")[1]["feature-store"] == told


def test_without_a_gpu_torch_says_so(run, monkeypatch):
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "sees no GPU; the driver" in run("gpu")[1]["gpu"]

    monkeypatch.setattr("torch.version.cuda", None)
    assert run("gpu")[1]["gpu"].endswith("of the image is built without CUDA")


@pytest.mark.parametrize(
    ("one", "told"),
    [(1.0, "ok 2 x NVIDIA L4, CUDA 13.0"), (0.5, "failed the GPU multiplies wrongly")],
)
def test_a_gpu_is_told_once_it_multiplies(run, monkeypatch, one, told):
    import torch

    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "NVIDIA L4")
    monkeypatch.setattr("torch.ones", lambda *shape, dtype, device: torch.full(shape, one))

    assert run("gpu")[1]["gpu"].startswith(told)


def test_the_api_server_is_asked_as_the_service_account(run, monkeypatch, tmp_path):
    (tmp_path / "token").write_text("secret")
    (tmp_path / "ca.crt").write_text("")
    monkeypatch.setattr(inside, "_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    asked = []

    def fetch(url, headers, trusted):
        asked.append((url, headers))
        return '{"gitVersion": "v1.34.2"}'

    monkeypatch.setattr(inside.ssl, "create_default_context", lambda cafile: None)
    monkeypatch.setattr(inside, "_fetch", fetch)

    assert run("kubernetes")[1]["kubernetes"] == "ok https://127.0.0.1:1 answers, v1.34.2"
    assert asked == [("https://127.0.0.1:1/version", {"Authorization": "Bearer secret"})]
