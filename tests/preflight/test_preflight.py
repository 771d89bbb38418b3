"""The whole report of a healthy and of a sick cluster, as a user reads it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from components.preflight.finding import State, failed, ok
from components.preflight.preflight import preflight
from components.preflight.report import group_lines, verdict
from components.shared.kubernetes import namespace_objects as names
from components.shared.machine import images
from components.shared.machine.errors import UserError
from tests.preflight.healthy_cluster import (
    CLAIM,
    CONFIG,
    DEPLOYMENTS,
    EXPECTED,
    IN,
    KATIB_CONFIG,
    NAMESPACE,
    STEP_LOG,
    deployment,
    gpu_node,
)
from tests.preflight.small_api import DIED, SUCCEEDED, waiting

HERE = Path(__file__).parent


def report(cluster, **options):
    findings, text = [], []
    for title, found in preflight(cluster.api, EXPECTED, **options):
        text.append(group_lines(title, found, colours=False))
        findings += found
    return "\n".join([*text, verdict(findings)]) + "\n", findings


@pytest.fixture(autouse=True)
def published_images(monkeypatch):
    for image in ("steps", "training", "predictor"):
        name = {"steps": "STEP"}.get(image, image.upper()) + "_IMAGE"
        monkeypatch.setattr(images, name, f"ghcr.io/review-sentiment/{image}:0.1.0")


def make_sick(cluster):
    objects = cluster.server.objects
    del objects["/apis/kubeflow.org/v1beta1"], objects["/apis/gateway.networking.k8s.io/v1"]
    objects["/apis/apps/v1/namespaces/kubeflow/deployments"]["items"].pop()
    cluster.server.refused["GET /apis/apps/v1/namespaces/kserve/.*"] = (403, "no")
    objects[f"/api/v1/namespaces/{NAMESPACE}"]["metadata"]["labels"] = {}
    objects[CONFIG]["data"].pop("STATE_DIR")
    objects[CLAIM] = {"spec": {"storageClassName": "nfs"}, "status": {"phase": "Pending"}}
    del objects[f"{IN}/secrets/{names.FEATURE_STORE_SECRET}"]
    objects[DEPLOYMENTS]["items"] = [deployment("mlflow", NAMESPACE, "mlflow:1", ready=0)]
    cluster.server.may = lambda wanted, user: wanted["verb"] != "delete"
    objects["/api/v1/nodes"] = {"items": [gpu_node(gpus=1)]}
    log = re.sub("mlflow=.*", "mlflow=failed http://mlflow:5000/health cannot be reached", STEP_LOG)
    cluster.server.ends["steps"] = (SUCCEEDED, log)
    message = 'Back-off pulling image "ghcr.io/review-sentiment/predictor:0.1.0": not found'
    cluster.server.ends["predictor"] = (waiting("ImagePullBackOff", message), "")
    cluster.server.ends["training"] = (DIED, "")


@pytest.mark.parametrize("state", ["healthy", "sick"])
def test_the_report_reads_as_it_should(cluster, state):
    if state == "sick":
        make_sick(cluster)

    text, _ = report(cluster)

    assert text == (HERE / f"{state}.txt").read_text(encoding="utf-8")


def test_lines_fit_the_terminal_but_for_commands(cluster):
    make_sick(cluster)

    text, _ = report(cluster)

    assert all(len(line) <= 100 or line.startswith("      $ ") for line in text.splitlines())


def test_without_pods_none_are_started(cluster):
    _, findings = report(cluster, pods=False)

    assert findings[-1].state is State.NOT_CHECKED
    assert findings[-1].told == "none were started (--no-pods)"
    assert cluster.server.made == {}


def test_without_a_namespace_the_rest_is_still_checked(cluster):
    del cluster.server.objects[f"/api/v1/namespaces/{NAMESPACE}"]

    _, findings = report(cluster)

    amiss = {finding.name: finding.state for finding in findings if finding.state is not State.OK}
    assert amiss == {"namespace": State.FAILED, "pods": State.NOT_CHECKED}
    assert cluster.server.made == {}


def test_a_check_that_breaks_off_hides_no_other(cluster):
    cluster.server.refused["GET /api/v1/nodes"] = (500, "etcd has no leader")

    _, findings = report(cluster)

    amiss = {finding.name: finding for finding in findings if finding.state is not State.OK}
    assert list(amiss) == ["GPUs"]
    assert "etcd has no leader" in amiss["GPUs"].told


def test_an_answer_that_is_not_understood_is_no_crash(cluster):
    cluster.server.objects[KATIB_CONFIG] = {"data": {"katib-config.yaml": "{"}}
    cluster.server.objects["/api/v1/nodes"] = {"items": [{"kind": "Node"}]}

    _, findings = report(cluster, pods=False)

    told = {finding.name: finding.told for finding in findings if finding.state is not State.OK}
    assert told["GPUs"] == "the answer is not understood (KeyError: 'metadata')"
    assert told["namespace"].startswith("the answer is not understood (ParserError")


def test_credentials_that_expired_end_it_before_anything_is_asked(cluster):
    cluster.server.refused[".*"] = (401, "Unauthorized")

    with pytest.raises(UserError, match="does not accept the credentials"):
        report(cluster)


def test_a_user_without_credentials_is_told_to_log_in(cluster):
    """A login plug-in of a kubeconfig that fails leaves the client without any."""
    message = 'User "system:anonymous" cannot create resource "selfsubjectreviews"'
    cluster.server.refused["POST .*/selfsubjectreviews"] = (403, message)

    with pytest.raises(UserError, match="system:anonymous; log in again"):
        report(cluster)


def test_what_is_no_api_server_ends_it_too(cluster):
    del cluster.server.objects["/version"]

    with pytest.raises(UserError, match="is not a Kubernetes API server"):
        report(cluster)


def test_a_remedy_that_several_need_is_told_once():
    text = group_lines("T", [failed("a", "1", "$x"), failed("b", "2", "$x"), ok("c", "3")], False)

    assert [line.split()[0] for line in text.splitlines()] == ["T", "FAILED", "FAILED", "$", "ok"]


def test_colours_are_only_where_they_are_asked_for():
    assert "\033[31m  FAILED" in group_lines("T", [failed("a", "b")], True)
    assert "\033" not in group_lines("T", [failed("a", "b")], False)


@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([State.OK, State.OK], "2 ok. Ready."),
        ([State.OK, State.NOT_CHECKED], "1 ok, 1 not checked. Nothing that was checked stands in"),
        ([State.FAILED, State.OK, State.WARNING], "1 ok, 1 warning, 1 FAILED. Mend what FAILED"),
    ],
)
def test_the_verdict(states, told):
    findings = [replace(ok("name", "told"), state=state) for state in states]

    assert verdict(findings).startswith(told)
