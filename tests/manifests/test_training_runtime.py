import copy
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from components.shared.kubernetes.namespace_objects import STATE_CLAIM, STATE_PATH, TRAINING_RUNTIME
from components.shared.machine.images import training_image
from components.training.on_nodes.train_job import NODE, train_job_spec
from tests.manifests.test_pod_security import faults_of

DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]
FILE = Path(__file__).parents[2] / "manifests" / "base" / "training" / "trainingruntime.yaml"


@pytest.fixture(scope="module")
def runtime():
    return yaml.safe_load(FILE.read_text())


def job_of(runtime, spec):
    """The Job that Trainer 2.3 and JobSet 0.12 make of a runtime and a TrainJob's spec.

    After trainingruntime.go, jobset.go and torch.go: the patches first, then resources merged by
    name, then the trainer's own fields and torchrun's variables.
    """
    (replicated,) = copy.deepcopy(runtime["spec"]["template"]["spec"]["replicatedJobs"])
    template = replicated["template"]
    pods = template["spec"]["template"]["spec"]
    for patch in spec.get("runtimePatches", []):
        (change,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        assert change["name"] == replicated["name"]
        pods |= change["template"]["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    trainer = spec["trainer"]
    for kind, amounts in trainer.get("resourcesPerNode", {}).items():
        container["resources"][kind] = container["resources"].get(kind, {}) | amounts
    for field in ("image", "command", "args"):
        if field in trainer:
            container[field] = trainer[field]
    count = trainer["numNodes"]
    variables = {"PET_NNODES": count, "PET_NPROC_PER_NODE": trainer["numProcPerNode"]}
    container["env"] += [{"name": name, "value": str(value)} for name, value in variables.items()]
    template["spec"] |= {"parallelism": count, "completions": count, "completionMode": "Indexed"}
    metadata = {**template["metadata"], "name": "t-node-0"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


@pytest.fixture(params=[(2, 0), (1, 8), (4, 2)], ids=lambda scale: "{} x {}".format(*scale))
def job(request, runtime):
    nodes, gpus = request.param
    return job_of(runtime, train_job_spec(["--training-set=/state/t"], nodes, gpus))


def test_it_is_the_runtime_that_train_jobs_name(runtime):
    assert runtime["metadata"]["name"] == TRAINING_RUNTIME
    assert runtime["spec"]["mlPolicy"]["torch"] == {}
    # trainingruntime_webhook.go: one replica, and a container called node where the trainer is.
    (replicated,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    labels = replicated["template"]["metadata"]["labels"]
    assert labels == {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    assert (replicated["name"], replicated["replicas"]) == (NODE, 1)
    (container,) = replicated["template"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == NODE
    assert container["image"].rpartition("/")[2] == training_image(1).rpartition("/")[2]


def test_kubernetes_accepts_the_job_and_pod_security_its_pods(runtime, job):
    for version in ("1.32", "1.36"):
        kubernetes_validate.validate(job, version, strict=True)
    pods = job["spec"]["template"]["spec"]
    assert faults_of(pods) == []
    assert pods["automountServiceAccountToken"] is False
    # What a podFailurePolicy needs; any failure ends the Job: the pods live and die together.
    assert (pods["restartPolicy"], job["spec"]["backoffLimit"]) == ("Never", 0)
    assert runtime["spec"]["template"]["spec"]["failurePolicy"]["maxRestarts"] > 0


def job_failure(policy, exit_code=None, conditions=()):
    """Reason and message with which Kubernetes ends a Job when one of its pods failed.

    After pkg/controller/job: rules in order, and backoffLimit 0 where none applies.
    """
    for index, rule in enumerate(policy["rules"]):
        assert rule["action"] == "FailJob"
        if codes := rule.get("onExitCodes"):
            assert (codes["operator"], codes["containerName"]) == ("In", NODE)
            met = exit_code in codes["values"]
            what = f"Container {NODE} for pod ns/p failed with exit code {exit_code}"
        else:
            met = any(c in conditions for c in rule["onPodConditions"])
            what = f"Pod ns/p has condition {rule['onPodConditions'][0]['type']}"
        if met:
            return "PodFailurePolicy", f"{what} matching FailJob rule at index {index}"
    return "BackoffLimitExceeded", "Job has reached the specified backoff limit"


def action(policy, reason, message):
    """What JobSet does about a Job that failed (failure_policy.go)."""
    for rule in policy["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        if reason in rule["onJobFailureReasons"] and any(re.search(p, message) for p in patterns):
            return rule["action"]
    return "RestartJobSet"


@pytest.mark.parametrize(
    ("pod", "then"),
    [
        # After SIGKILL Kubernetes sees what the pod's program or the kernel ended with.
        ({"exit_code": 137}, "RestartJobSet"),
        ({"exit_code": 1}, "RestartJobSet"),
        ({"exit_code": 2}, "FailJobSet"),
        ({"exit_code": 22}, "RestartJobSet"),
        # One that was disrupted, and one that ended because another was.
        ({"exit_code": 137, "conditions": DISRUPTED}, "RestartJobSetAndIgnoreMaxRestarts"),
        ({"exit_code": 128 + 15}, "RestartJobSetAndIgnoreMaxRestarts"),
    ],
)
def test_the_action_after_a_pod_failed(runtime, job, pod, then):
    policy = runtime["spec"]["template"]["spec"]["failurePolicy"]
    assert action(policy, *job_failure(job["spec"]["podFailurePolicy"], **pod)) == then


def test_pods_have_the_volumes_and_variables_of_training(job):
    pods = job["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    volumes = {volume["name"]: volume for volume in pods["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    assert mounted[STATE_PATH]["persistentVolumeClaim"]["claimName"] == STATE_CLAIM
    assert mounted["/dev/shm"]["emptyDir"]["medium"] == "Memory"
    variables = {e["name"]: e.get("value") for e in container["env"]}
    assert variables["HOME"] == "/tmp" in mounted
    assert variables["HF_HOME"].startswith(f"{STATE_PATH}/")
    assert job["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    waits = int(variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"])
    assert pods["terminationGracePeriodSeconds"] > waits


def test_only_the_train_job_adds_gpus(runtime):
    def settings(gpus):
        job = job_of(runtime, train_job_spec([], 2, gpus))
        pods = job["spec"]["template"]["spec"]
        (container,) = pods["containers"]
        return pods.get("nodeSelector"), pods.get("tolerations"), container["resources"]["limits"]

    selector, tolerations, limits = settings(2)
    assert selector == {"nvidia.com/gpu.present": "true"}
    assert tolerations[0]["key"] == "nvidia.com/gpu"
    assert limits == {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "2"}
    assert settings(0) == (None, None, {"cpu": "2", "memory": "8Gi"})
