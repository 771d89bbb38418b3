import json

import pytest

from components.preflight.finding import State
from components.preflight.inside_run import follow

IMAGES = {"steps image": "r/steps:1", "training image": "r/training:1"}
SEEN = (
    {"name": "steps image", "state": "passed", "text": "starts as user 10001", "remedy": ""},
    {"name": "MLflow", "state": "passed", "text": "http://mlflow:5000 answers", "remedy": ""},
)
NO_NODE = {"type": "PodScheduled", "status": "False", "message": "3 Insufficient nvidia.com/gpu."}
UNSCHEDULABLE = {"phase": "Pending", "conditions": [NO_NODE]}


def pod(image, status, name):
    metadata = {"name": name, "namespace": "reviews", "labels": {"pipeline/runid": "r1"}}
    containers = [{"name": "wait", "image": "argo"}, {"name": "main", "image": image}]
    return {"metadata": metadata, "spec": {"containers": containers}, "status": status}


def status(phase, **state):
    return {"phase": phase, "containerStatuses": [{"state": state}]}


def waiting(reason, message=""):
    return status("Pending", waiting={"reason": reason, "message": message})


def log(*seen):
    return "\n".join(["a warning", *(f"preflight finding {json.dumps(s)}" for s in seen), "end"])


RUNNING = status("Running", running={})
DIED = status("Failed", terminated={"exitCode": 137, "reason": "OOMKilled"})
DONE = {"phase": "Succeeded"}


@pytest.fixture
def world(cluster):
    images = {"driver": "r/driver:1", "s": "r/steps:1", "t": "r/training:1"}
    cluster.server.pods = [pod(image, DONE, name) for name, image in images.items()]
    cluster.server.logs = {"s": log(*SEEN), "t": log({**SEEN[1], "name": "GPU"})}
    return cluster


def check(world, state="RUNNING", say=lambda text: None):
    found = follow(world.api, "r1", lambda: state, IMAGES, 30, say)
    return {one.name: one for one in found}


def test_what_the_steps_print_becomes_findings(world):
    findings = check(world)
    assert {one.state for one in findings.values()} == {State.PASSED}
    assert set(findings) == {"steps image", "MLflow", "training image", "GPU"}
    assert findings["MLflow"].text == "http://mlflow:5000 answers"
    assert world.time.slept == []


@pytest.mark.parametrize(
    ("name", "state", "remedy"),
    [
        ("MLflow", "FAILED", "component=mlflow"),
        ("Prometheus", "warning", "PROMETHEUS_URL"),
        ("shared volume", "FAILED", "kubectl apply -k"),
        ("Pipelines API inside", "FAILED", "ml-pipeline"),
    ],
)
def test_what_failed_inside_is_reported_with_its_remedy(world, name, state, remedy):
    world.server.logs["s"] = log(SEEN[0], {**SEEN[1], "name": name, "state": state, "text": "no"})
    finding = check(world)[name]
    assert (finding.state.value, finding.text) == (state, "no")
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("status", "text", "remedy"),
    [
        (waiting("ImagePullBackOff", "manifest unknown"), "manifest unknown", "make images"),
        (waiting("InvalidImageName"), "InvalidImageName", "make images"),
        (waiting("CreateContainerConfigError", "no key STATE_DIR"), "no key", "kubectl apply -k"),
        (UNSCHEDULABLE, "3 Insufficient nvidia.com/gpu", "kubectl get nodes"),
        (RUNNING, "did not run to its end in time (running)", "--deadline 900"),
        (waiting("ContainerCreating"), "in time (ContainerCreating)", "--deadline 900"),
        (DIED, "it ended with code 137 (OOMKilled)", "get events"),
        (None, "did not run to its end in time (starting)", "--deadline 900"),
    ],
    ids=str,
)
def test_a_step_that_does_not_run_is_named(world, status, text, remedy):
    world.server.pods[2:] = [pod("r/training:1", status, "t")] if status else []
    world.server.logs["t"] = ""
    findings = check(world)
    assert findings["training image"].state is State.FAILED
    assert text in findings["training image"].text
    assert remedy in findings["training image"].remedy
    assert findings["MLflow"].state is State.PASSED
    assert "GPU" not in findings


def test_a_run_that_ended_is_not_waited_for(world):
    del world.server.pods[1:]
    findings = check(world, state="FAILED")
    assert "the run ended before it (starting)" in findings["steps image"].text
    findings = check(world, state="SUCCEEDED")
    assert findings["steps image"].state is State.PASSED
    assert findings["from the steps image"].text == "its pod is gone, and its log with it"
    assert world.time.slept == []
    # What a step that broke off had seen is kept.
    world.server.pods = [pod("r/steps:1", DIED, "s")]
    findings = check(world, state="FAILED")
    assert findings["steps image"].state is State.FAILED
    assert "code 137" in findings["steps image"].text
    assert findings["MLflow"].state is State.PASSED


def test_an_image_that_is_pulled_late_is_waited_for(world):
    states = iter([waiting("ErrImagePull"), waiting("ErrImagePull"), RUNNING, DONE])

    def before(method, path):
        if path.endswith("/pods"):
            world.server.pods[1]["status"] = next(states)

    world.server.before = before
    said = []
    assert {one.state for one in check(world, say=said.append).values()} == {State.PASSED}
    assert said == ["waiting for steps image: ErrImagePull", "waiting for steps image: running"]


@pytest.mark.parametrize(
    ("refused", "name", "text"),
    [
        ("GET .*/pods", "from inside", "you may not list the pods of the run"),
        ("GET .*/log", "from the steps image", "you may not read the logs of pods"),
    ],
)
def test_what_may_not_be_read_is_skipped(world, refused, name, text):
    world.server.refused[refused] = (403, "no")
    finding = check(world, state="SUCCEEDED")[name]
    assert (finding.state, finding.text) == (State.SKIPPED, text)
