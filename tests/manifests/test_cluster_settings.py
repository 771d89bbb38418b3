"""One description of the cluster, and every pod that follows it, whoever starts it."""

import json
import re
import shutil

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.pod_settings import POD_SETTINGS, pod_fields, read_pod_settings
from components.shared.machine.errors import UserError
from components.training.on_nodes.train_job import train_job_spec
from components.training.options import TrainingOptions
from components.training.tuning.experiment import experiment_file, read_experiment
from components.training.tuning.katib_experiment import TrialSettings, experiment_manifest
from pipelines.running.step_settings import CLUSTER_KEYS
from pipelines.training import training_pipeline
from tests.manifests.conftest import MANIFESTS, build, containers_of, named, pods_of
from tests.manifests.test_schemas import faults_of

SECRETS = [{"name": "regcred"}]
KEPT = {"key": "dedicated", "value": "reviews", "effect": "NoSchedule"}
SPOT = {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
ON_GPUS = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
EVERY = {"imagePullSecrets": SECRETS, "nodeSelector": {"pool": "ml"}, "tolerations": [KEPT]}
SLICE = "nvidia.com/mig-1g.10gb"


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    """A copy whose cluster asks for everything that can be set."""
    folder = tmp_path_factory.mktemp("copy") / "manifests"
    shutil.copytree(MANIFESTS, folder)
    file = folder / "cluster" / "pods.yaml"
    every, run, gpu = yaml.safe_load_all(file.read_text())
    every["template"]["spec"] |= EVERY
    run["template"]["spec"]["tolerations"] = [SPOT]
    gpu["template"]["spec"]["containers"][0]["resources"]["limits"] = {SLICE: "1"}
    file.write_text(yaml.safe_dump_all([every, run, gpu]))
    for commented in ("kustomization.yaml", "environment.yaml"):
        path = folder / "cluster" / commented
        path.write_text(re.sub(r"^# (?=replacements|data|  )", "", path.read_text(), flags=re.M))
    return folder


@pytest.fixture(autouse=True)
def settings(manifests, monkeypatch):
    """As a step that starts pods is given them."""
    found = read_pod_settings(manifests / "cluster" / "pods.yaml")
    monkeypatch.setenv(POD_SETTINGS, json.dumps(found))


@pytest.mark.parametrize("overlay", ["small", "gpu", "profile"])
def test_the_pods_of_the_manifests_follow_it(manifests, overlay):
    objects = build(manifests / "overlays" / overlay)
    assert not [o for o in objects if o["kind"] == "PodTemplate"]
    assert {o["kind"]: faults for o in objects if (faults := faults_of(o))} == {}
    kinds = {"Deployment", "Job", "ServingRuntime", "StatefulSet"}
    pods = [(o["kind"], pod) for o in objects if o["kind"] in kinds for _, pod in pods_of(o)]
    assert {kind for kind, _ in pods} == kinds
    for kind, pod in pods:
        assert {field: pod.get(field) for field in EVERY} == EVERY, kind
    data = named(objects, "ConfigMap", names.CLUSTER_CONFIG_MAP)["data"]
    assert set(data) == set(CLUSTER_KEYS)
    assert data["SSL_CERT_FILE"].startswith(f"{names.CA_PATH}/")


def test_the_pods_of_a_step_follow_it():
    traced = training_pipeline.trace()
    pods = MessageToDict(traced.platform_spec)["platforms"]["kubernetes"]["deploymentSpec"]
    containers = MessageToDict(traced.pipeline_spec)["deploymentSpec"]["executors"]
    for name, pod in pods["executors"].items():
        accelerator = containers[name]["container"]["resources"].get("accelerator")
        assert [one["secretName"] for one in pod["imagePullSecret"]] == ["regcred"]
        label = {"nvidia.com/gpu.present": "true"} if accelerator else {}
        assert pod["nodeSelector"]["labels"] == {"pool": "ml", **label}
        keys = [one["key"] for one in pod["tolerations"]]
        assert keys == ["dedicated", "spot", *(["nvidia.com/gpu"] if accelerator else [])]
        assert int(pod["tolerations"][1]["tolerationSeconds"]) == 60
        assert accelerator is None or accelerator["resourceType"] == SLICE


@pytest.mark.parametrize("gpus", [0, 1, 2])
def test_trials_and_trainings_follow_it(gpus):
    options = TrainingOptions(seed=7).to_dict()
    trials = TrialSettings(4, "/state/t", "roberta-base", options, gpus_per_node=gpus)
    experiment = experiment_manifest(read_experiment(experiment_file()), "x", {}, trials)
    job = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]
    training = job if gpus > 1 else train_job_spec([], 2, gpus)
    (patch,) = training["runtimePatches"]
    (nodes,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    found = [
        (nodes["template"]["spec"]["template"]["spec"], training["trainer"].get("resourcesPerNode"))
    ]
    if gpus < 2:
        pod = job["template"]["spec"]
        found.append((pod, pod["containers"][0]["resources"]))
    for pod, resources in found:
        assert {field: pod[field] for field in EVERY} == pod_fields(gpu=gpus > 0)
        assert pod["tolerations"] == [KEPT, SPOT, *([ON_GPUS] if gpus else [])]
        assert ((resources or {}).get("limits", {}).get(SLICE) == str(gpus)) == (gpus > 0)
        assert "nvidia.com/gpu'" not in str(resources)


def test_every_container_has_the_environment_and_the_authorities():
    objects = (*build(MANIFESTS / "overlays" / "gpu"), *build(experiment_file()))
    served = [o for o in objects if o["kind"] not in ("StatefulSet", "Job")]
    containers = [container for o in served for container in containers_of(o)]
    assert len(containers) == 4
    for container in containers:
        source = {"name": names.CLUSTER_CONFIG_MAP, "optional": True}
        assert {"configMapRef": source} in container["envFrom"]
        assert names.CA_PATH in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_what_every_pod_sets_is_what_kustomize_copies():
    """Set in pods.yaml alone, MLflow, Postgres and the model servers would lack it."""
    folder = MANIFESTS / "cluster"
    spec = read_pod_settings(folder / "pods.yaml")["every-pod"]
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text()).get("replacements") or []
    copied = [yaml.safe_load((folder / one["path"]).read_text())["source"] for one in listed]
    fields = {source["fieldPath"].rpartition(".")[2] for source in copied}
    assert {field for field in spec if spec[field] and field in EVERY} == fields


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: run-pods", "name: other-pods"),
        ("containers: []", "containers: []\n    hostNetwork: true"),
        ('limits: {nvidia.com/gpu: "1"}', "limits: {}"),
        ("nodeSelector: {nvidia", "nodeSelector: [nvidia"),
    ],
)
def test_settings_that_pods_cannot_follow_are_refused(tmp_path, old, new):
    text = (MANIFESTS / "cluster" / "pods.yaml").read_text()
    (tmp_path / "pods.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match="must hold the PodTemplates"):
        read_pod_settings(tmp_path / "pods.yaml")
