import shlex
from pathlib import Path

import pytest

from components.serving.batch.on_nodes.ray_job import (
    LONGEST_NAME,
    PODS,
    RAY_VERSION,
    last_words,
    ray_job,
)
from components.shared.kubernetes.namespace_objects import STATE_CLAIM
from components.shared.machine.images import predictor_image
from tests.manifests.conftest import MANIFESTS, build, named, pods_of
from tests.manifests.test_network_policies import opened, selects
from tests.manifests.test_pod_security import faults_of as against_restricted
from tests.stand_ins.kept_objects import CRDS, crd_validator
from tests.stand_ins.step_world import WORKFLOW

ARGUMENTS = {"reviews": "/state/launched/x/reviews.parquet", "model-name": "a model's; rm"}


def job(nodes=3, name="n" * LONGEST_NAME):
    return ray_job(name, ARGUMENTS, nodes, WORKFLOW, deadline_seconds=60)


@pytest.fixture(scope="module")
def faults_of():
    """What the RayJob's definition finds wrong with an object."""
    validator = crd_validator("ray.io", "v1", "rayjobs")
    if validator is None:
        pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
    return lambda manifest: [f"{f.json_path}: {f.message}" for f in validator.iter_errors(manifest)]


@pytest.mark.parametrize("nodes", [1, 200])
def test_a_ray_job_is_what_kuberay_takes(faults_of, nodes):
    manifest = job(nodes)
    assert faults_of(manifest) == []
    manifest["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replica"] = 2
    assert faults_of(manifest)


def test_its_pods_are_restricted_and_share_the_volume():
    pods = [pod for _, pod in pods_of(job()["spec"])]
    assert len(pods) == 2
    for pod in pods:
        assert against_restricted(pod) == []
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["image"] == predictor_image()
        mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert mounted.keys() == volumes.keys()
        claim = {"claimName": STATE_CLAIM}
        assert volumes["state"]["persistentVolumeClaim"] == claim
        # KubeRay would add one without a limit.
        assert mounted["shared-memory"] == "/dev/shm"
        assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"


def test_the_entry_names_each_argument_and_its_actors(monkeypatch):
    from components.serving.batch.on_nodes import actors

    words = shlex.split(job(7)["spec"]["entrypoint"])
    assert words[:3] == ["python", "-m", actors.__name__]
    given = dict(word.removeprefix("--").split("=", 1) for word in words[3:])
    assert given == {**ARGUMENTS, "actors": "7", "cpus": "4"}
    worker = job(7)["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert {worker[key] for key in ("replicas", "minReplicas", "maxReplicas")} == {7}


def test_nobody_but_its_own_pods_and_the_operator_reach_the_head():
    manifest = job(name="batch-1")
    assert manifest["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    head = manifest["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["metadata"]["labels"]
    label, _, value = PODS.format(name="batch-1").partition("=")
    assert head[label] == value
    objects = build(MANIFESTS / "overlays" / "gpu")
    deny = named(objects, "NetworkPolicy", "review-sentiment-default-deny")["spec"]
    assert selects(deny["podSelector"], head)
    own, operator = opened(objects, head, "ingress")
    assert selects(own["from"][0]["podSelector"], head)
    assert own["from"][0].keys() == {"podSelector"}
    for other in ("pipeline-step", "predictor", "training"):
        assert not selects(
            own["from"][0]["podSelector"], {**head, "app.kubernetes.io/component": other}
        )
    assert [port["port"] for port in operator["ports"]] == [8265]
    assert operator["from"][0].keys() == {"namespaceSelector", "podSelector"}


def test_ray_is_of_the_version_that_the_image_has():
    pinned = Path(__file__).resolve().parents[4] / "constraints.txt"
    assert f"ray=={RAY_VERSION}" in pinned.read_text().splitlines()


def test_the_last_words_are_its_own_sentence_or_the_last_line():
    log = "Job failed with exit code 2, last logs:\nerror: no space; free some\n\nbye\n"
    assert last_words(log) == "error: no space; free some"
    assert last_words("a\nb\n") == "b"
    assert last_words("")
