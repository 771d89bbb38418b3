"""What can be wrong with a cluster, and what is just enough: row, change, and what is said."""

import pytest

from components.preflight.finding import State
from components.preflight.namespace_checks import COLLECTOR, ENFORCE
from components.shared.kubernetes import namespace_objects as names
from tests.preflight.healthy_cluster import (
    CLAIM,
    CONFIG,
    DEPLOYMENTS,
    EXPECTED,
    IN,
    INITIALIZER,
    KATIB_CONFIG,
    NAMESPACE,
    PRIORITY,
    SECURED,
    deployment,
    gpu_limits,
    gpu_node,
    gpu_pod,
    group,
    katib_config,
    schema,
)

HERE = f"/api/v1/namespaces/{NAMESPACE}"
KATIB, ARGO = "/apis/kubeflow.org/v1beta1", "/apis/argoproj.io/v1alpha1"
TRAINER = "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"
KSERVE = "/openapi/v3/apis/serving.kserve.io/v1beta1"
GATEWAY = "/apis/gateway.networking.k8s.io/v1"
MLFLOW_SECRET = f"{IN}/secrets/review-sentiment-mlflow"
# What is expected beside EXPECTED, by row.
EXPECTED_HERE = {"GPUs": {"gpus": 2}, "server": {"secrets": {}}}


def listed(*found):
    return {"items": list(found)}


def nodes(*found):
    return {"/api/v1/nodes": listed(*found)}


def controller(image, **ready):
    found = deployment("katib-controller", "kubeflow", image, **ready)
    return {"/apis/apps/v1/namespaces/kubeflow/deployments": listed(found)}


def mlflow(**replicas):
    return {DEPLOYMENTS: listed(deployment("mlflow", NAMESPACE, "m", **replicas))}


def namespace(phase="Active", **labels):
    return {HERE: {"metadata": {"labels": labels}, "status": {"phase": phase}}}


def claim(phase, mode="", **spec):
    """A claim, and its storage class if it has a mode."""
    found = {CLAIM: {"spec": spec, "status": {"phase": phase}}}
    address = f"/apis/storage.k8s.io/v1/storageclasses/{spec.get('storageClassName')}"
    return found | ({address: {"volumeBindingMode": mode}} if mode else {})


def quota(hard, used=()):
    team = {"metadata": {"name": "team"}, "status": {"hard": hard, "used": dict(used)}}
    return {f"{IN}/resourcequotas": listed(team)}


def limit(kind, **most):
    team = {"metadata": {"name": "team"}, "spec": {"limits": [{"type": kind, "max": most}]}}
    return {f"{IN}/limitranges": listed(team)}


TAINTED = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
EVICTING = {"taints": [{"key": names.GPU, "effect": "NoExecute"}]}
BARE = {**gpu_node(), "metadata": {"name": "gpu-1"}}
BROKEN = {**gpu_node()["status"], "conditions": [{"type": "Ready", "status": "Unknown"}]}
OTHER = gpu_node("gpu-2")
BUSY = {"/api/v1/pods": listed(gpu_pod(1), gpu_pod(2), gpu_pod(4, "gpu-2"))}
LOOSE = {"allowPrivilegeEscalation": True}


class If:
    """A row of the preflight on a cluster with a change, and what it says then."""

    def __init__(self, row, change, **expected):
        self.of = row, expected or EXPECTED_HERE.get(row, {}), change

    def fails(self, text, remedy, state=State.FAILED):
        return pytest.param(*self.of, state, text, remedy, id=f"{self.of[0]}: {text}")

    def warns(self, text, remedy=""):
        return self.fails(text, remedy, State.WARNING)

    def skips(self, text):
        return self.fails(text, "", State.SKIPPED)

    def passes(self, text):
        return pytest.param(*self.of, text, id=f"{self.of[0]}: {text}")


CASES = [
    If("Katib", {KATIB: None}).fails(
        "no kubeflow.org/v1beta1 experiments, trials: no tuning", "katib-standalone"
    ),
    If("Katib", {KATIB: group("pytorchjobs", "trials")}).fails(
        "there is no kubeflow.org/v1beta1 experiments: no tuning", "katib-standalone"
    ),
    If("Argo Workflows", {ARGO: None}).fails("no pipeline runs", "kubeflow/pipelines.git"),
    If("Kubeflow Trainer", {TRAINER: schema("TrainJob", "spec", "trainer")}).fails(
        "TrainJob has no spec.runtimePatches: it is older than 2.2", "ref=v2.3.0"
    ),
    If("KServe", {KSERVE: schema("InferenceService", "spec")}).warns(
        "has no spec.canary: canaries work in Knative mode only", "v0.21.0"
    ),
    If("traffic splitting", {GATEWAY: None}).warns(
        "neither the Gateway API nor Knative: a model", "gateway-api"
    ),
    If("versions", controller("katib:v0.18.0")).warns(
        "0.18.0 (katib-controller in namespace kubeflow); written for 0.19"
    ),
    If("versions", controller("k:v0.19.0", ready=0)).fails(
        "katib-controller in namespace kubeflow has no ready pod", "-n kubeflow describe"
    ),
    If("versions", controller("r:5000/katib")).skips("r:5000/katib says no version; 0.19 or later"),
    If("namespace", {HERE: None}).fails("there is no usable namespace", "kubectl apply -k"),
    If("namespace", namespace("Terminating")).fails(
        "reviews is being deleted", "kubectl wait --for=delete namespace/reviews"
    ),
    If("namespace", namespace(**{COLLECTOR: "enabled"})).warns(
        "nothing is enforced", f"label namespace reviews {ENFORCE}=restricted"
    ),
    If("namespace", namespace(**{ENFORCE: "restricted"})).fails(
        "no trial would report its metrics", f"{COLLECTOR}=enabled"
    ),
    If("namespace", {KATIB_CONFIG: katib_config(False, SECURED)}).fails(
        "katib-config lacks injectSecurityContext", "edit configmap katib-config"
    ),
    If("namespace", {KATIB_CONFIG: katib_config(True, LOOSE)}).fails(
        "lacks a securityContext of the suggestion random", "manifests/README.md"
    ),
    If("namespace", {KATIB_CONFIG: {"data": {}}}).fails(
        "lacks injectSecurityContext and a securityContext", "manifests/README.md"
    ),
    If("namespace", {INITIALIZER: {"spec": {"container": {"name": "storage-initializer"}}}}).warns(
        "its storage initializer has no security context", "clusterstoragecontainer"
    ),
    If("configuration", {CONFIG: None}).fails(
        "there is no ConfigMap review-sentiment-config", "kubectl apply -k"
    ),
    If("configuration", {CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}}}).fails(
        "review-sentiment-config lacks STATE_DIR", "kubectl apply -k"
    ),
    If("storage", {CLAIM: None}).fails(
        "there is no PersistentVolumeClaim review-sentiment-state", "kubectl apply -k"
    ),
    If("storage", claim("Lost")).fails("is Lost", "describe pvc"),
    If("storage", claim("Pending")).fails(
        "the cluster has no default one", "kubectl get storageclass"
    ),
    If("storage", claim("Pending", storageClassName="nfs")).fails(
        "storage class nfs, which does not exist", "kubectl get storageclass"
    ),
    If("storage", claim("Pending", "WaitForFirstConsumer", storageClassName="nfs")).warns(
        "of storage class nfs, made for the first pod that mounts it"
    ),
    If("storage", claim("Pending", "Immediate", storageClassName="nfs")).fails(
        "waits for a volume of storage class nfs", "describe pvc"
    ),
    If("service account", {f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}": None}).fails(
        "there is no service account review-sentiment-pipeline", "kubectl apply -k"
    ),
    If("PriorityClass", {PRIORITY: None}).fails(
        "there is no PriorityClass low", "kubectl apply -k"
    ),
    If(
        "server", {f"{IN}/secrets/{names.FEATURE_STORE_SECRET}": None}, secrets=EXPECTED.secrets
    ).fails("there is no Secret", "--from-literal=PGHOST=… --from-literal=PGPASSWORD=…"),
    If("server", {MLFLOW_SECRET: None}).fails(
        "no Secret review-sentiment-mlflow", "generic review-sentiment-mlflow --from"
    ),
    If("server", mlflow(ready=0)).fails(
        "Deployment mlflow, 0 of 1 pod ready", "describe deployment mlflow"
    ),
    If("server", mlflow(ready=1, replicas=2)).warns(
        "Deployment mlflow, 1 of 2 pods ready", "describe deployment mlflow"
    ),
    If("quota", quota({"limits.memory": "16Gi"})).fails(
        "team allows 16Gi limits.memory; the largest step asks for 32G", "edit"
    ),
    If("quota", quota({"requests.cpu": "10"}, {"requests.cpu": "2500m"})).warns(
        "10 requests.cpu, of which 2500m are taken; a step that asks for 8 waits", "pod"
    ),
    If("quota", limit("Container", memory="8Gi")).fails(
        "team allows a container 8Gi memory; the largest step asks for 32G", "edit"
    ),
    If("GPUs", nodes({"metadata": {"name": "cpu-1"}})).fails(
        "no node offers nvidia.com/gpu, the training asks for 2", "TRAINING_GPUS=0"
    ),
    If("GPUs", {}, gpus=8).fails(
        "4 on 1 node that training can use; it asks for 8", "TRAINING_GPUS=4"
    ),
    If("GPUs", BUSY).warns("1 free; training that asks for 2 waits", "kubectl get pods -A"),
    If("GPUs", nodes(BARE)).fails(
        "0 on 0 nodes", "kubectl label node gpu-1 nvidia.com/gpu.present=true"
    ),
    If("GPUs", nodes(gpu_node(**TAINTED), OTHER)).warns(
        "its taint team=a:NoSchedule is not tolerated", "taint node gpu-1 team:NoSch"
    ),
    If("GPUs", nodes(gpu_node(**EVICTING), OTHER)).warns(
        "its taint nvidia.com/gpu:NoExecute is not tolerated", "NoExecute-"
    ),
    If("GPUs", nodes(gpu_node(unschedulable=True), OTHER)).warns(
        "node gpu-1 is left out: it is cordoned", "kubectl uncordon gpu-1"
    ),
    If("GPUs", nodes({**gpu_node(), "status": BROKEN}, OTHER)).warns(
        "node gpu-1 is left out: it is not ready", "kubectl describe node gpu-1"
    ),
]

PREFERRED_NOT = {"taints": [{"key": "team", "effect": "PreferNoSchedule"}]}
ADMITTED = {ENFORCE: "restricted", COLLECTOR: "enabled"}
ADMITTED |= {"review-sentiment/pod-security-defaults": "enabled"}
FULL = quota({"requests.cpu": "10", "limits.memory": "32G"}, {"requests.cpu": "2"})
INIT = {"spec": {"nodeName": "gpu-1", "containers": [{}], "initContainers": [gpu_limits(3)]}}

EDGES = [
    If("GPUs", {"/api/v1/pods": listed()}, gpus=4).passes(
        "4 on 1 node that training can use, 4 free"
    ),
    If("GPUs", nodes(gpu_node(**PREFERRED_NOT))).passes("4 on 1 node"),
    If("GPUs", {"/api/v1/pods": listed(INIT)}, gpus=1).passes("1 free"),
    If("namespace", namespace(**ADMITTED) | {KATIB_CONFIG: {"data": {}}}).passes(
        "our admission policy fills in"
    ),
    If("quota", FULL | limit("Pod", memory="32G")).passes(
        "leaves room for the largest step (8 cpu, 32G memory)"
    ),
]
