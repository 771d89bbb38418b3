"""`make submit` against an HTTP server that answers as the API of Kubeflow Pipelines does."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
EXPERIMENT = {
    "experiment_id": "e1",
    "display_name": "review-sentiment",
    "created_at": "2026-01-01T00:00:00Z",
}

RUN = {"run_id": "r1", "experiment_id": "e1", "created_at": "2026-01-01T00:00:00Z"}


class PipelinesApi(BaseHTTPRequestHandler):
    """Health, one experiment, and a list of the runs that were posted."""

    runs: list[dict]

    def do_GET(self) -> None:
        if "healthz" in self.path:
            self.answer({"multi_user": False})
        elif "/runs/" in self.path:
            self.answer(RUN)
        else:
            self.answer({"experiments": [EXPERIMENT]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "/runs" in self.path:
            type(self).runs.append(body)
            self.answer(RUN)
        else:
            self.answer(EXPERIMENT)

    def answer(self, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[tuple[str, list[dict]]]:
    """Address of the server, and the runs posted to it."""
    handler = type("Api", (PipelinesApi,), {"runs": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.runs
    server.shutdown()


@pytest.mark.slow
def test_the_compiled_pipeline_and_its_parameters_are_posted(api) -> None:
    endpoint, runs = api
    words = ["make", "submit", f"KFP_ENDPOINT={endpoint}", "DATA=s3://bucket/reviews.csv"]
    words += ["BASE_MODEL=roberta-base", "ARGS=tune_trials=4 accuracy_threshold=0.85"]
    done = subprocess.run(
        words, cwd=PROJECT, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = runs
    assert run["runtime_config"]["parameters"] == {
        "data_uri": "s3://bucket/reviews.csv",
        "base_model": "roberta-base",
        "tune_trials": 4,
        "accuracy_threshold": 0.85,
    }
    spec = run["pipeline_spec"]
    assert spec["pipeline_spec"]["pipelineInfo"]["name"] == "review-sentiment-training"
    assert "kubernetes" in spec["platform_spec"]["platforms"]
