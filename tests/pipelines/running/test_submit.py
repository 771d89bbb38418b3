"""Submission against an HTTP server that answers as the API of Kubeflow Pipelines does."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kfp import compiler, dsl

from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT
from pipelines.running import submit

PROJECT = Path(__file__).parents[3]
MADE = "2026-01-01T00:00:00Z"
EXPERIMENT = {"experiment_id": "e1", "display_name": "review-sentiment", "created_at": MADE}
RUN = {"run_id": "r1", "experiment_id": "e1", "created_at": MADE}


class PipelinesApi(BaseHTTPRequestHandler):
    """Health, one experiment, runs and recurring runs; keeps what was asked."""

    asked: list[tuple[str, str, dict]]
    schedules: dict[str, str]
    refuse: int

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.endswith("healthz"):
            self.answer({"multi_user": False})
        elif "/recurringruns" in path:
            found = [
                {"recurring_run_id": key, "display_name": name, "created_at": MADE}
                for key, name in self.schedules.items()
            ]
            self.answer({"recurringRuns": found})
        elif "/runs/" in path:
            self.answer(RUN)
        else:
            self.answer({"experiments": [EXPERIMENT]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = urlsplit(self.path).path.rpartition("/")[2]
        self.asked.append((kind, self.headers.get("authorization", ""), body))
        if self.refuse:
            self.answer({"error": "no such permission"}, self.refuse)
        elif kind == "recurringruns":
            self.schedules["s2"] = body["display_name"]
            self.answer({"recurring_run_id": "s2", "display_name": body["display_name"]})
        else:
            self.answer(RUN if kind == "runs" else EXPERIMENT)

    def do_DELETE(self) -> None:
        self.schedules.pop(self.path.rpartition("/")[2])
        self.answer({})

    def answer(self, content: dict, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[tuple[str, type[PipelinesApi]]]:
    """Address of the server, and its handler."""
    handler = type("Api", (PipelinesApi,), {"asked": [], "schedules": {}, "refuse": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small compiled pipeline."""

    @dsl.component(base_image="python:3.11")
    def echo(text: str) -> str:
        return text

    @dsl.pipeline(name="small")
    def small(count: int, text: str = "hello", trials: int = 1) -> None:
        echo(text=text)

    path = tmp_path_factory.mktemp("build") / "small.yaml"
    compiler.Compiler().compile(small, package_path=str(path))
    return str(path)


def posted(handler: type[PipelinesApi], kind: str) -> dict:
    """The one request of a kind."""
    (found,) = [body for asked, _, body in handler.asked if asked == kind]
    return found


def cached(body: dict) -> set[bool]:
    """Whether the steps' results may be reused."""
    tasks = body["pipeline_spec"]["root"]["dag"]["tasks"].values()
    return {task["cachingOptions"].get("enableCache", False) for task in tasks}


def test_a_run_names_service_account_experiment_and_parameters(api, package, monkeypatch) -> None:
    endpoint, handler = api
    monkeypatch.setenv(submit.TOKEN_VARIABLE, "a-token")
    submit.main([package, "--endpoint", endpoint, "count=1", "text=2", "trials=4"])
    run = posted(handler, "runs")
    assert run["service_account"] == SERVICE_ACCOUNT
    assert run["experiment_id"] == "e1"
    assert run["display_name"] == "small"
    assert run["runtime_config"]["parameters"] == {"count": 1, "text": "2", "trials": 4}
    assert cached(run) == {True}
    assert {token for _, token, _ in handler.asked} == {"Bearer a-token"}


def test_caching_can_be_switched_off(api, package) -> None:
    endpoint, handler = api
    submit.main(
        [package, "--endpoint", endpoint, "--no-cache", "--service-account", "other", "count=1"]
    )
    run = posted(handler, "runs")
    assert cached(run) == {False}
    assert run["service_account"] == "other"


def test_a_schedule_takes_the_place_of_the_one_before(api, package, capsys) -> None:
    endpoint, handler = api
    handler.schedules |= {"s1": "weekly", "s0": "another"}
    submit.main(
        [
            package,
            "--endpoint",
            endpoint,
            "--name",
            "weekly",
            "--cron",
            "0 0 3 * * 1",
            "count=1",
            "text=7",
        ]
    )
    made = posted(handler, "recurringruns")
    assert made["service_account"] == SERVICE_ACCOUNT
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"
    assert made["max_concurrency"] == 1
    assert made["no_catchup"] is True
    assert made["runtime_config"]["parameters"] == {"count": 1, "text": "7"}
    assert handler.schedules == {"s2": "weekly", "s0": "another"}
    assert "in place of the one before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "refuse", "told"),
    [
        (["trials"], 0, "'trials' is not of the form name=value"),
        (["trails=3"], 0, "has no parameter trails; it has count, text, trials"),
        (["text=a"], 0, "needs the parameter count"),
        (["count=1"], 403, "403"),
        (["count=1"], 401, submit.TOKEN_VARIABLE),
        (["count=1"], 500, "answered 500"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(api, package, capsys, words, refuse, told) -> None:
    endpoint, handler = api
    handler.refuse = refuse
    with pytest.raises(SystemExit) as ended:
        submit.main([package, "--endpoint", endpoint, *words])
    assert ended.value.code not in (0, None)
    assert told in capsys.readouterr().err
    assert not handler.schedules


def test_an_endpoint_that_does_not_answer(package, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main([package, "--endpoint", "http://127.0.0.1:1", "count=1"])
    told = capsys.readouterr().err
    assert told.startswith("error: Kubeflow Pipelines at http://127.0.0.1:1 cannot be reached")
    assert told.count("\n") == 1


def test_a_pipeline_that_is_not_compiled(capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main(["build/none.yaml"])
    assert "make compile" in capsys.readouterr().err


@pytest.mark.slow
def test_make_submit_posts_the_compiled_pipeline(api) -> None:
    endpoint, handler = api
    words = ["make", "submit", f"KFP_ENDPOINT={endpoint}", "DATA=s3://bucket/reviews.csv"]
    words += ["BASE_MODEL=roberta-base", "ARGS=tune_trials=4 accuracy_threshold=0.85"]
    done = subprocess.run(
        words, cwd=PROJECT, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = posted(handler, "runs")
    assert run["runtime_config"]["parameters"] == {
        "data_uri": "s3://bucket/reviews.csv",
        "base_model": "roberta-base",
        "tune_trials": 4,
        "accuracy_threshold": 0.85,
    }
    spec = run["pipeline_spec"]
    assert spec["pipeline_spec"]["pipelineInfo"]["name"] == "review-sentiment-training"
    assert "kubernetes" in spec["platform_spec"]["platforms"]
