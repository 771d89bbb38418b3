"""Kubeflow Pipelines, through the API server and at an endpoint."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from components.preflight.finding import State
from components.preflight.pipelines_api import check_pipelines_api

PROXY = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1/healthz"


def check(cluster, endpoint=""):
    (finding,) = check_pipelines_api(cluster.api, endpoint, "kubeflow")
    return finding


def test_through_the_api_server(cluster):
    assert check(cluster).state is State.OK
    assert "(multi-user)" in check(cluster).told


@pytest.mark.parametrize(
    ("status", "state", "remedy"),
    [
        (403, State.NOT_CHECKED, "port-forward"),
        (404, State.FAILED, "make preflight KFP_ENDPOINT="),
    ],
)
def test_not_through_the_api_server(cluster, status, state, remedy):
    cluster.server.refused[f"GET {PROXY}"] = (status, "no")

    assert check(cluster).state is state
    assert remedy in check(cluster).remedy


@pytest.fixture
def endpoint():
    class Handler(BaseHTTPRequestHandler):
        answer = (200, '{"apiServerTagName": "2.17.0"}')

        def do_GET(self):
            type(self).headers_sent = dict(self.headers)
            status, text = self.answer
            self.send_response(status)
            self.send_header("Location", "/dex/auth")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", Handler
    http.shutdown()
    http.server_close()


def test_an_endpoint_that_answers(cluster, endpoint, monkeypatch):
    url, handler = endpoint
    monkeypatch.setenv("KFP_TOKEN", "token")

    found = check(cluster, url + "/")

    assert found.state is State.OK
    assert found.told == f"{url} answers (2.17.0)"
    assert handler.headers_sent["Authorization"] == "Bearer token"


@pytest.mark.parametrize(
    ("answer", "state", "told"),
    [
        ((302, ""), State.FAILED, "asks for a login (302)"),
        ((401, ""), State.FAILED, "asks for a login (401)"),
        ((200, "<html>"), State.FAILED, "not as Kubeflow Pipelines"),
        ((502, "{}"), State.FAILED, "answers 502"),
    ],
)
def test_an_endpoint_that_answers_otherwise(cluster, endpoint, answer, state, told):
    url, handler = endpoint
    handler.answer = answer

    assert check(cluster, url).state is state
    assert told in check(cluster, url).told


@pytest.mark.parametrize(
    ("health", "told", "remedy"),
    [
        ({"multi_user": True}, "runs go to a profile's namespace, not to reviews", "NAMESPACE=…"),
        ({"multi_user": False}, "all runs go to namespace kubeflow, not to reviews", "=kubeflow"),
        ({"apiServerReady": False}, "API server of Pipelines behind it does not", "ml-pipeline"),
    ],
    ids=["multi-user", "standalone", "the dashboard alone"],
)
def test_runs_that_would_not_go_to_the_namespace(cluster, health, told, remedy):
    installed_in = "reviews" if health.get("multi_user") else "kubeflow"
    address = PROXY.replace("/kubeflow/", f"/{installed_in}/")
    cluster.server.objects[address] = health

    (found,) = check_pipelines_api(cluster.api, "", installed_in)

    assert found.state is State.FAILED
    assert told in found.told
    assert remedy in found.remedy


def test_a_closed_endpoint(cluster):
    found = check(cluster, "http://127.0.0.1:9")

    assert found.state is State.FAILED
    assert "http://127.0.0.1:9 cannot be reached" in found.told
    assert found.remedy == "kubectl -n kubeflow port-forward service/ml-pipeline 8888"
