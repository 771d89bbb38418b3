import io
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from components.preflight.finding import try_and_print
from components.shared.kubernetes import namespace_objects as names
from components.shared.machine.images import predictor_image, step_image, training_image
from pipelines.running import preflight
from pipelines.running.step_settings import CONFIG_KEYS
from tests.preflight.clusters import CONFIG, NAMESPACE, healthy
from tests.preflight.test_inside_run import pod
from tests.stand_ins.api_server import ApiServer, kubeconfig
from tests.stand_ins.pipelines_api import PipelinesApi

PROJECT = Path(__file__).resolve().parents[3]
IMAGES = {"steps": step_image(), "training": training_image(1), "predictor": predictor_image()}


@pytest.fixture
def server():
    server = ApiServer(objects=healthy())
    server.objects[CONFIG] = {"data": dict.fromkeys(CONFIG_KEYS, "x")}
    yield server
    server.close()


@pytest.fixture
def pipelines(server):
    """Kubeflow Pipelines, which starts a pod for each step of a run."""
    pipelines = PipelinesApi()
    pipelines.health = (200, '{"multi_user": true}')
    pipelines.runs["r1"] = "SUCCEEDED"

    def start():
        server.pods = [pod(image, {"phase": "Succeeded"}, name) for name, image in IMAGES.items()]
        printed = io.StringIO()
        with redirect_stdout(printed):
            try_and_print([("MLflow", lambda: "answers")])
        server.logs = dict.fromkeys(IMAGES, "") | {"steps": printed.getvalue()}

    pipelines.made = start
    yield pipelines
    pipelines.close()


@pytest.fixture
def run(server, pipelines, tmp_path, monkeypatch, capsys):
    """Exit code, output and errors of the command line."""
    monkeypatch.setattr(preflight.signal, "signal", lambda *_: None)
    for name in ("KUBERNETES_SERVICE_HOST", "KFP_ENDPOINT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    config = kubeconfig(tmp_path, server.url, NAMESPACE)

    def run(*options):
        code = 0
        try:
            words = ["--kubeconfig", config, "--namespace", NAMESPACE]
            preflight.main([*words, "--kfp-endpoint", pipelines.url, *options])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def test_a_sick_cluster_is_1(run, server):
    del server.objects[CONFIG]
    del server.objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/{names.FEATURE_STORE_SECRET}"]
    code, said, errors = run("--gpus", "1")
    assert (code, errors) == (1, "")
    assert "there is no ConfigMap review-sentiment-config" in said
    assert "--from-literal=PGHOST=…" in said
    assert said.endswith("Fix what FAILED, then check again.\n")


def test_a_healthy_cluster_is_0_and_the_run_is_removed(run, server, pipelines):
    code, said, errors = run("--gpus", "1")
    assert (code, errors) == (0, "")
    assert said.startswith(f"Preflight of namespace {NAMESPACE} at {server.url}\n\nCluster\n")
    assert said.endswith(" passed. Ready.\n")
    assert "\033" not in said
    assert f"may do all {len(preflight.permissions())} things" in said
    for line in ("steps image", "MLflow", "training image", "predictor image"):
        assert f"\n  passed    {line} " in said
    (made,) = [body for kind, _, body in pipelines.asked if kind == "runs"]
    assert made["service_account"] == names.SERVICE_ACCOUNT
    assert made["runtime_config"]["parameters"]["gpu"] == "yes"
    spec = made["pipeline_spec"]["pipeline_spec"]
    assert spec["pipelineInfo"]["name"] == "review-sentiment-preflight"
    assert pipelines.removed == ["delete r1"]


def test_where_pipelines_cannot_be_reached_that_is_a_finding(run):
    code, said, _ = run("--kfp-endpoint", "http://127.0.0.1:9")
    assert code == 1
    assert "FAILED    pipeline run" in said
    assert "skipped   from inside             not tried" in said


def test_a_run_that_cannot_be_removed_is_named(run, pipelines, monkeypatch):
    monkeypatch.setattr(pipelines, "delete", lambda path: (500, {"error": "no"}))
    code, said, _ = run()
    assert code == 0
    assert "run r1 could not be removed" in said
    assert "$ kfp run delete r1" in said


def test_without_pods_nothing_is_started(run, pipelines):
    _, said, _ = run("--no-pods")
    assert "nothing was started (--no-pods)" in said
    assert pipelines.asked == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "log in again"),
        (["--context", "nosuch"], "nosuch"),
        (["--gpus", "-1"], "--gpus takes a number from 0 up"),
        (["--deadline", "0"], "--deadline one from 1 up"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_2(run, server, options, words):
    server.refused[".*"] = (401, "Unauthorized")
    code, said, errors = run(*options)
    assert (code, said) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert words in errors


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_by_a_signal(server, pipelines, tmp_path, by):
    pipelines.runs["r1"] = "RUNNING"
    pipelines.made = lambda: None
    command = [sys.executable, "-m", "pipelines.running.preflight", "--gpus", "1"]
    command += ["--namespace", NAMESPACE, "--kubeconfig", kubeconfig(tmp_path, server.url)]
    command += ["--kfp-endpoint", pipelines.url]
    followed = threading.Event()
    server.before = lambda method, path: path.endswith("/reviews/pods") and followed.set()
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert followed.wait(timeout=120)
        process.send_signal(by)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert pipelines.removed == ["terminate r1", "delete r1"]
