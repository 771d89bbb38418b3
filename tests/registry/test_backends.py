import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from components.registry import versions
from components.shared.machine.errors import UserError

REGISTER = """
import sys
from components.registry.registration import register
folder, summary, predictions, registration, run = sys.argv[1:]
print(register(folder, {"evaluation": summary}, predictions, registration, model_name="m",
               approval="auto", facts={"pipeline_run": run}).version)
"""


@pytest.mark.slow
def test_concurrent_processes_all_register_silently(
    model_folder, evaluation_summary, predictions, tmp_path, monkeypatch
):
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    command = [sys.executable, "-c", REGISTER, model_folder, evaluation_summary, predictions]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([*command, tmp_path / f"{run}.json", f"run-{run}"], **pipes)
        for run in range(3)
    ]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert sorted(out.strip() for out, _ in answers) == ["1", "2", "3"]
    assert [err for _, err in answers] == ["", "", ""]
    registered = versions.list_versions("m")
    assert sorted(one.tags["pipeline_run"] for one in registered) == ["run-0", "run-1", "run-2"]


@pytest.fixture
def mlflow_server(tmp_path, monkeypatch, free_port):
    environment = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--port", str(free_port), "--workers", "1"),
        *("--backend-store-uri", "sqlite:///server.db", "--artifacts-destination", "kept"),
    ]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=tmp_path, start_new_session=True
        )
    uri = f"http://127.0.0.1:{free_port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    try:
        wait_until_healthy(uri, process, tmp_path / "server.log")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_healthy(uri, process, log_file, within=300):
    without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + within
    while time.monotonic() < deadline and process.poll() is None:
        try:
            without_proxy.open(f"{uri}/health", timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    pytest.fail(f"no MLflow server at {uri}: {log_file.read_text()}")


@pytest.mark.slow
def test_a_server_does_the_same_as_a_file(
    mlflow_server, model_folder, predictions, register_version, tmp_path, make_model_folder
):
    def once(folder, run):
        return register_version(folder, pipeline_run=run, name="m")

    assert versions.fetch_champion("m", tmp_path / "champion") == ""
    assert once(model_folder, "run-1").version == "1"
    assert once(model_folder, "run-1").version == "1"
    versions.promote("m", "1")
    assert once(make_model_folder(tmp_path / "second", b"better"), "run-2").version == "2"
    versions.promote("m", "challenger")
    assert versions.fetch_champion("m", tmp_path / "champion") == "2"
    assert (tmp_path / "champion" / "model.safetensors").read_bytes() == b"better"
    versions.fetch_version("m", "previous", tmp_path / "first", tmp_path / "first.parquet")
    assert (tmp_path / "first" / "model.safetensors").read_bytes() == b"weights"
    assert (tmp_path / "first.parquet").read_bytes() == predictions.read_bytes()
    assert versions.show_version("m", "2").tags["data_fingerprint"] == "data-1"
    # The files went through the server, not around it.
    assert list((tmp_path / "kept").rglob("model.safetensors"))


@pytest.mark.slow
def test_an_unreachable_server_raises_an_error(monkeypatch, free_port, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{free_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(UserError, match=f"MLflow at http://127.0.0.1:{free_port} ") as failure:
        versions.fetch_champion("m", tmp_path / "champion")
    assert "secret" not in str(failure.value)
