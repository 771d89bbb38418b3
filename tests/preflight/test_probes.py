"""What becomes of the probe pods, and that none is left behind."""

import io
from contextlib import redirect_stdout
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.preflight import inside
from components.preflight.finding import State
from components.preflight.probes import _LINE, check_inside
from tests.preflight.healthy_cluster import EXPECTED, STEP_LOG
from tests.preflight.small_api import DIED, RUNNING, SUCCEEDED, UNSCHEDULABLE, waiting

DEADLINE = 30
PODS = "POST /api/v1/namespaces/reviews/pods"


def check(cluster, **options):
    return check_inside(cluster.api, EXPECTED, DEADLINE, **options)


def found(cluster, name):
    return next(finding for finding in check(cluster) if finding.name == name)


@given(st.text(), st.sampled_from([None, inside.Doubtful, inside.Amiss, ValueError]))
def test_whatever_a_check_says_is_one_line_that_is_read_back(said, raised):
    def one():
        if raised:
            raise raised(said)
        return said

    printed = io.StringIO()
    with patch.dict(inside.CHECKS, {"gpu": one}), redirect_stdout(printed):
        inside.main(["gpu"])

    ((_, _, _), (name, state, told)) = _LINE.findall(printed.getvalue())
    assert name == "gpu"
    assert state == {None: "ok", inside.Doubtful: "warning"}.get(raised, "failed")
    assert " ".join(said.split())[:500] in told


def test_what_the_probes_print_becomes_findings(cluster):
    findings = check(cluster)

    assert {finding.state for finding in findings} == {State.OK}
    assert [finding.name for finding in findings] == [
        "steps image",
        "Kubernetes API",
        "shared volume",
        "feature store",
        "MLflow",
        "MLflow's artifacts",
        "Pipelines API inside",
        "Prometheus",
        "predictor image",
        "training image",
        "GPU",
    ]
    assert cluster.server.pods == {}


@pytest.mark.parametrize(
    ("line", "name", "state", "remedy"),
    [
        ("mlflow=failed no answer", "MLflow", State.FAILED, "component=mlflow"),
        ("prometheus=warning no answer", "Prometheus", State.WARNING, "PROMETHEUS_URL"),
        ("storage=failed read-only", "shared volume", State.FAILED, "kubectl apply -k"),
        ("pipelines=failed no answer", "Pipelines API inside", State.FAILED, "-n kubeflow"),
    ],
)
def test_what_failed_inside_is_told_with_its_remedy(cluster, line, name, state, remedy):
    check_name = line.partition("=")[0]
    others = [old for old in STEP_LOG.splitlines() if not old.startswith(f"{check_name}=")]
    cluster.server.ends["steps"] = (SUCCEEDED, "\n".join(["a warning of Python's", line, *others]))

    finding = found(cluster, name)

    assert finding.state is state
    assert finding.told == line.partition(" ")[2]
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("status", "told", "remedy"),
    [
        (waiting("ImagePullBackOff", "manifest unknown"), "manifest unknown", "make images"),
        (waiting("InvalidImageName"), "InvalidImageName", "make images"),
        (
            waiting("CreateContainerConfigError", "couldn't find key STATE_DIR"),
            "couldn't find key STATE_DIR",
            "kubectl apply -k",
        ),
        (UNSCHEDULABLE, "3 Insufficient nvidia.com/gpu", "kubectl get nodes"),
        (RUNNING, "did not run to its end in time (Running)", "--deadline 900"),
        (waiting("ContainerCreating"), "in time (ContainerCreating)", "--deadline 900"),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "in time", "--deadline 900"),
        (DIED, "it ended with code 137 (OOMKilled)", "get events"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_that_does_not_run_is_told_and_removed(cluster, status, told, remedy):
    cluster.server.ends["training"] = (status, "")

    findings = {finding.name: finding for finding in check(cluster)}

    assert findings["training image"].state is State.FAILED
    assert told in findings["training image"].told
    assert remedy in findings["training image"].remedy
    assert findings["from training"].state is State.NOT_CHECKED
    assert findings["MLflow"].state is State.OK
    assert cluster.server.pods == {}
    assert len(cluster.server.made) == 3


def test_an_image_that_is_pulled_late_is_waited_for(cluster):
    pulled_late = waiting("ErrImagePull", "toomanyrequests")
    status = [pulled_late, pulled_late, waiting("ContainerCreating"), RUNNING]
    cluster.server.ends["steps"] = ([*status, SUCCEEDED], STEP_LOG)
    told = []

    findings = check(cluster, tell=told.append)

    assert {finding.state for finding in findings} == {State.OK}
    waits = ("toomanyrequests", "ContainerCreating", "running")
    assert told == [f"waiting for steps: {why}" for why in waits]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('violates PodSecurity "restricted:latest"', 'violates PodSecurity "restricted:latest"'),
        ("exceeded quota: team, requested: cpu=1", "has no quota left"),
        ("maximum memory usage per Pod is 128Mi", "maximum memory usage per Pod is 128Mi"),
        ('error looking up service account reviews/x: "x" not found', "looking up service account"),
    ],
)
def test_a_pod_that_is_not_admitted_is_told_as_such(cluster, message, told):
    cluster.server.refused[PODS] = (403, f'pods "x" is forbidden: {message}')

    finding = found(cluster, "steps image")

    assert finding.state is State.FAILED
    assert told in finding.told
    assert "may not" not in finding.told
    assert "resourcequota" in finding.remedy


def test_a_webhook_that_refuses_is_not_taken_for_a_missing_right(cluster):
    cluster.server.refused[PODS] = (403, 'admission webhook "policy" denied the request: no')

    finding = found(cluster, "steps image")

    assert finding.state is State.FAILED
    assert "denied the request" in finding.told


def test_a_user_who_may_not_create_pods_learns_it_once(cluster):
    message = 'pods is forbidden: User "kim" cannot create resource "pods"'
    cluster.server.refused[PODS] = (403, message)

    (finding,) = check(cluster)

    assert finding.state is State.NOT_CHECKED
    assert "kim may not create pods" in finding.told
    assert not [path for method, path, _ in cluster.server.asked if method == "DELETE"]


def test_a_log_that_may_not_be_read_leaves_the_rest_unknown(cluster):
    cluster.server.refused["GET .*/log"] = (403, "no")

    findings = {finding.name: finding for finding in check(cluster)}

    assert findings["steps image"].state is State.OK
    assert findings["from steps"].state is State.NOT_CHECKED
    assert "you may not read the logs of pods" in findings["from steps"].told


def test_a_probe_that_breaks_off_is_not_taken_for_good(cluster):
    cluster.server.ends["steps"] = (DIED, "image=ok starts\nkubernetes=ok answers\nKilled\n")

    findings = {finding.name: finding for finding in check(cluster)}

    assert findings["Kubernetes API"].state is State.OK
    assert findings["MLflow"].state is State.FAILED
    assert findings["MLflow"].told == "the probe broke off, its last line: Killed"


def test_nothing_is_left_when_it_is_interrupted(cluster):
    cluster.server.ends["steps"] = (RUNNING, "")

    def interrupt(seconds):
        raise KeyboardInterrupt

    object.__setattr__(cluster.api.retry_policy, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        check(cluster)

    assert len(cluster.server.made) == 3
    assert cluster.server.pods == {}


def test_nothing_is_left_where_the_answer_to_a_creation_is_lost(cluster):
    cluster.server.lost = {"POST"}

    findings = check(cluster)

    assert {finding.state for finding in findings} == {State.OK}
    assert len(cluster.server.made) == 3
    assert cluster.server.pods == {}


@pytest.mark.parametrize(
    ("status", "told"),
    [(403, "you may not read its state"), (404, "someone deleted it"), (500, "etcd is gone")],
)
def test_a_pod_that_cannot_be_looked_at_is_removed_all_the_same(cluster, status, told):
    cluster.server.refused["GET .*-training-.*"] = (status, "etcd is gone")

    assert told in found(cluster, "training image").told
    assert cluster.server.pods == {}


def test_a_pod_whose_creation_is_never_answered_is_removed_all_the_same(cluster):
    answer = cluster.server.answer

    def unanswered(method, path, body, headers):
        done = answer(method, path, body, headers)
        training = method == "POST" and "-training-" in body["metadata"]["name"]
        return (500, {"message": "etcd is gone"}) if training else done

    cluster.server.answer = unanswered
    object.__setattr__(cluster.api.retry_policy, "seconds", 0.0)

    assert "etcd is gone" in found(cluster, "training image").told
    assert len(cluster.server.made) == 3
    assert cluster.server.pods == {}


def test_a_pod_that_cannot_be_deleted_is_named(cluster):
    cluster.server.refused["DELETE .*"] = (403, "no")
    told = []

    last = check(cluster, tell=told.append)[-1]

    assert told[-1].endswith("could not be deleted")
    assert last.state is State.WARNING
    assert "could not be deleted" in last.told
    assert last.remedy.startswith("kubectl -n reviews delete pod review-sentiment-preflight-")
