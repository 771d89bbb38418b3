"""The command line of the preflight: exit codes, errors in one sentence, nothing left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.shared.kubernetes import namespace_objects as names
from pipelines.running import preflight
from pipelines.running.step_settings import CONFIG_KEYS
from tests.preflight.healthy_cluster import CONFIG, ENDS, NAMESPACE, healthy
from tests.preflight.small_api import RUNNING, SmallApi
from tests.stand_ins.api_server import kubeconfig

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server():
    server = SmallApi(healthy())
    server.objects[CONFIG] = {"data": dict.fromkeys(CONFIG_KEYS, "x")}
    server.ends = dict(ENDS)
    yield server
    server.close()


@pytest.fixture
def run(server, tmp_path, monkeypatch, capsys):
    """Runs the command line; gives exit code, output and errors."""
    monkeypatch.setattr(preflight.signal, "signal", lambda *_: None)
    for name in ("KUBERNETES_SERVICE_HOST", "KFP_ENDPOINT", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    config = kubeconfig(tmp_path, server.url, NAMESPACE)

    def run(*options, config=config):
        try:
            preflight.main(["--kubeconfig", str(config), "--namespace", NAMESPACE, *options])
        except SystemExit as end:
            return end.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


def test_a_healthy_cluster_is_0(run, server):
    code, said, errors = run("--gpus", "1")

    assert (code, errors) == (0, "")
    assert said.startswith(f"Preflight of namespace {NAMESPACE} at {server.url}\n\nCluster\n")
    assert said.endswith(" ok. Ready.\n")
    assert "\033" not in said


def test_a_sick_cluster_is_1(run, server):
    del server.objects[CONFIG]

    code, said, errors = run("--gpus", "1")

    assert (code, errors) == (1, "")
    assert "there is no ConfigMap review-sentiment-config" in said
    assert said.endswith("Mend what FAILED, then check again.\n")


def test_it_asks_for_what_the_pipelines_use(run, server):
    asked = []
    server.may = lambda attributes, user: not asked.append(attributes)

    run("--no-pods")

    wanted = {(one["group"], one["resource"], one["verb"]) for one in asked}
    assert ("serving.kserve.io", "inferenceservices", "patch") in wanted
    assert ("argoproj.io", "workflowtaskresults", "create") in wanted
    assert {one["name"] for one in asked} == {"", "kfp-launcher", "mlpipeline-minio-artifact"}


def test_it_asks_for_what_the_role_grants():
    role = yaml.safe_load((PROJECT / "manifests/base/pipeline/role.yaml").read_text())
    granted = {
        (group, resource, verb, name)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }

    asked = {(one.group, one.resource, one.verb, one.name) for one in preflight.permissions()}

    assert asked == granted


def test_the_pods_of_a_step_get_every_key(run, server):
    run("--gpus", "0")

    pod = next(pod for name, pod in server.made.items() if "steps" in name)
    (container,) = pod["spec"]["containers"]
    assert {one["name"] for one in container["env"]} >= {*CONFIG_KEYS, "PGHOST", "PGSSLMODE"}
    assert len(server.made) == 2


def test_wrong_credentials_are_one_sentence(run, server):
    server.refused[".*"] = (401, "Unauthorized")

    code, said, errors = run()

    assert (code, said) == (2, "")
    assert errors.count("\n") == 1
    assert "log in again" in errors


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda config, url: config.unlink(), "set KUBECONFIG"),
        (lambda config, url: config.write_text("{"), "set KUBECONFIG"),
        (
            lambda config, url: config.write_text(
                config.read_text().replace(url, "http://[::1]:1")
            ),
            "cannot be reached",
        ),
    ],
    ids=["no kubeconfig", "a broken kubeconfig", "no network"],
)
def test_a_cluster_that_cannot_be_asked_is_2(run, server, tmp_path, monkeypatch, break_it, told):
    config = tmp_path / "kubeconfig"
    break_it(config, server.url)
    monkeypatch.setattr("components.preflight.api._SECONDS_TO_GIVE_UP", 0.0)

    code, said, errors = run(config=config)

    assert (code, said) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert told in errors


def test_a_wrong_context_is_2(run):
    code, _, errors = run("--context", "nosuch")

    assert code == 2
    assert "nosuch" in errors


@pytest.mark.parametrize("options", [["--gpus", "-1"], ["--deadline", "0"]])
def test_numbers_that_make_no_sense_are_2(run, options):
    assert run(*options)[0] == 2


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_behind_by_a_signal(server, tmp_path, by):
    server.ends["steps"] = (RUNNING, "")
    command = [sys.executable, "-m", "pipelines.running.preflight", "--gpus", "1"]
    command += ["--namespace", NAMESPACE, "--kubeconfig", kubeconfig(tmp_path, server.url)]
    environment = {key: value for key, value in os.environ.items() if key != "KFP_ENDPOINT"}
    with subprocess.Popen(
        command,
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with server.changed:
            assert server.changed.wait_for(lambda: looked_at(server, "steps"), timeout=60)
        process.send_signal(by)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert len(server.made) == 3
    assert server.pods == {}


def looked_at(server, probe):
    """Whether the pod of a probe was created and read."""
    return any(
        method == "GET" and f"/pods/review-sentiment-preflight-{probe}" in path
        for method, path, _ in server.asked
    )


def test_the_secret_of_the_feature_store_is_looked_for(run, server):
    del server.objects[f"/api/v1/namespaces/{NAMESPACE}/secrets/{names.FEATURE_STORE_SECRET}"]

    code, said, _ = run("--no-pods")

    assert code == 1
    assert "--from-literal=PGHOST=…" in said
