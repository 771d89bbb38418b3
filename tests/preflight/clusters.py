"""What a healthy cluster answers; what can be wrong with it, and what is said of that."""

import pytest
import yaml

from components.preflight.finding import State
from components.preflight.namespace_checks import COLLECTOR, ENFORCE
from components.preflight.outside import Expected, Permission
from components.shared.kubernetes import namespace_objects as names

NAMESPACE = "reviews"
IN = f"/api/v1/namespaces/{NAMESPACE}"
CLAIM = f"{IN}/persistentvolumeclaims/{names.STATE_CLAIM}"
CONFIG = f"{IN}/configmaps/{names.CONFIG_MAP}"
KATIB_CONFIG = "/api/v1/namespaces/kubeflow/configmaps/katib-config"
INITIALIZER = "/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers/default"
RUNTIMES = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{NAMESPACE}/trainingruntimes"
SERVING_RUNTIMES = f"/apis/serving.kserve.io/v1alpha1/namespaces/{NAMESPACE}/servingruntimes"
PRIORITY = "/apis/scheduling.k8s.io/v1/priorityclasses/low"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"

EXPECTED = Expected(
    config_keys=("MLFLOW_TRACKING_URI", "STATE_DIR"),
    secrets={names.FEATURE_STORE_SECRET: ("PGHOST", "PGPASSWORD")},
    serving_runtime="review-sentiment",
    permissions=(
        *(Permission("kubeflow.org", "experiments", verb) for verb in ("create", "delete")),
        *(Permission("", "pods/log", "get"), Permission("", "configmaps", "get", "kfp-launcher")),
    ),
    largest_step={"cpu": "8", "memory": "32G"},
    gpus=2,
)

USER = f"system:serviceaccount:{NAMESPACE}:{names.SERVICE_ACCOUNT}"
ACCOUNT = f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}"
PREDICTOR = f"{IN}/serviceaccounts/{names.PREDICTOR_SERVICE_ACCOUNT}"
MLFLOW_SECRET = f"{IN}/secrets/review-sentiment-mlflow"
STORE_SECRET = f"{IN}/secrets/{names.FEATURE_STORE_SECRET}"
TRAINER = "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1"
KSERVE = "/openapi/v3/apis/serving.kserve.io/v1beta1"
PROXY = "/api/v1/namespaces/{}/services/ml-pipeline:http/proxy/apis/v2beta1/healthz"
SECURED = {"runAsNonRoot": True, "allowPrivilegeEscalation": False}


def listed(*found):
    return {"items": list(found)}


def namespace(phase="Active", **labels):
    return {IN: {"metadata": {"labels": labels}, "status": {"phase": phase}}}


def katib_config(inject, suggestion):
    """Katib's configuration, with what decides over Pod Security."""
    contexts = {"tpe": SECURED, "random": suggestion}
    suggestions = [{"algorithmName": k, "securityContext": v} for k, v in contexts.items()]
    controller = {"controller": {"injectSecurityContext": inject}}
    config = {"init": controller, "runtime": {"suggestions": suggestions}}
    return {"data": {"katib-config.yaml": yaml.safe_dump(config)}}


def group(*plurals):
    return {"kind": "APIResourceList", "resources": [{"name": plural} for plural in plurals]}


def schema(kind, *path):
    """An OpenAPI document in which a kind has one field."""
    field = {}
    for name in reversed(path):
        field = {"properties": {name: field}}
    mark = "x-kubernetes-group-version-kind"
    schemas = {
        "other": {mark: [{"kind": f"{kind}List"}]},
        "kind": {mark: [{"kind": kind}], **field},
    }
    return {"components": {"schemas": schemas}}


def deployment(name, namespace, image, ready=1, replicas=1, **container):
    template = {"spec": {"containers": [{"image": image, **container}]}}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "template": template},
        "status": {"availableReplicas": ready, "readyReplicas": ready},
    }


def gpu_node(name="gpu-1", gpus=4, **spec):
    taint = {"key": names.GPU, "value": "present", "effect": "NoSchedule"}
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": dict([names.GPU_NODE_LABEL])},
        "spec": {"taints": [taint], **spec},
        "status": {"allocatable": {names.GPU: str(gpus)}, "conditions": ready},
    }


def gpu_pod(gpus, node="gpu-1"):
    return {"spec": {"nodeName": node, "containers": [gpu_limits(gpus), {}]}}


def gpu_limits(gpus):
    return {"resources": {"limits": {names.GPU: str(gpus)}}}


def healthy():
    """Objects by their address."""
    reference = {"secretKeyRef": {"name": "review-sentiment-mlflow", "key": "PGUSER"}}
    user = {"name": "PGUSER", "valueFrom": reference}
    found = {
        "/version": {"gitVersion": "v1.34.2"},
        "/apis/argoproj.io/v1alpha1": group("workflows", "workflowtaskresults"),
        "/apis/kubeflow.org/v1beta1": group("experiments", "trials", "suggestions"),
        "/apis/trainer.kubeflow.org/v1alpha1": group("trainjobs", "trainingruntimes"),
        "/apis/serving.kserve.io/v1beta1": group("inferenceservices"),
        "/apis/serving.kserve.io/v1alpha1": group("servingruntimes"),
        "/apis/gateway.networking.k8s.io/v1": group("gateways", "httproutes"),
        KSERVE: schema("InferenceService", "spec", "canary"),
        TRAINER: schema("TrainJob", "spec", "runtimePatches"),
        PROXY.format("kubeflow"): {"multi_user": True},
        KATIB_CONFIG: katib_config(True, SECURED),
        INITIALIZER: {"spec": {"container": {"securityContext": SECURED}}},
        IN: namespace(**{ENFORCE: "restricted", COLLECTOR: "enabled"})[IN],
        CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "STATE_DIR": "/state"}},
        CLAIM: {
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "nfs"},
            "status": {"phase": "Bound", "capacity": {"storage": "20Gi"}},
        },
        DEPLOYMENTS: listed(
            deployment("mlflow", NAMESPACE, "m:1", replicas=2, ready=2, env=[user])
        ),
        f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets": listed(),
        RUNTIMES: listed({"template": [{"spec": {"priorityClassName": "low"}}]}),
        f"{RUNTIMES}/{names.TRAINING_RUNTIME}": {},
        f"{SERVING_RUNTIMES}/review-sentiment": {},
        **dict.fromkeys((f"{IN}/resourcequotas", f"{IN}/limitranges"), listed()),
        **{one: {} for one in (PRIORITY, ACCOUNT, PREDICTOR, STORE_SECRET, MLFLOW_SECRET)},
        "/api/v1/nodes": listed(gpu_node(), {"metadata": {"name": "cpu-1"}}),
        "/api/v1/pods": listed(gpu_pod(1)),
    }
    for space, name, image in (
        ("kubeflow", "ml-pipeline", "ghcr.io/kubeflow/kfp-api-server:2.17.0"),
        ("kubeflow", "katib-controller", "ghcr.io/kubeflow/katib:v0.19.0"),
        ("kubeflow-system", "kubeflow-trainer-controller-manager", "kubeflow/trainer:v2.3.0"),
        ("kserve", "kserve-controller-manager", f"kserve/controller:v0.21.0@sha256:{'0' * 64}"),
    ):
        address = f"/apis/apps/v1/namespaces/{space}/deployments"
        found.setdefault(address, listed())["items"].append(deployment(name, space, image))
    return found


KATIB, ARGO = "/apis/kubeflow.org/v1beta1", "/apis/argoproj.io/v1alpha1"
GATEWAY = "/apis/gateway.networking.k8s.io/v1"
APPLY, NFS = "kubectl apply -k", {"storageClassName": "nfs"}
# What is expected beside EXPECTED, by row.
EXPECTED_HERE = {"GPUs": {"gpus": 2}, "server": {"secrets": {}}}


def nodes(*found):
    return {"/api/v1/nodes": listed(*found)}


def controller(image, **ready):
    found = deployment("katib-controller", "kubeflow", image, **ready)
    return {"/apis/apps/v1/namespaces/kubeflow/deployments": listed(found)}


def mlflow(**replicas):
    return {DEPLOYMENTS: listed(deployment("mlflow", NAMESPACE, "m", **replicas))}


def claim(phase, mode="", **spec):
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
    If("Katib", {KATIB: None}).fails("experiments, trials: no tuning", "katib-standalone"),
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
    If("traffic splitting", {GATEWAY: None}).warns("neither the Gateway", "gateway-api"),
    If("versions", controller("katib:v0.18.0")).warns("kubeflow); written for 0.19"),
    If("versions", controller("k:v0.19.0", ready=0)).fails("has no ready pod", "kubeflow describe"),
    If("versions", controller("r:5000/katib")).skips("r:5000/katib says no version; 0.19 or later"),
    If("namespace", {IN: None}).fails("there is no usable namespace", APPLY),
    If("namespace", namespace("Terminating")).fails("is being deleted", "--for=delete namespace/r"),
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
    If("configuration", {CONFIG: None}).fails("no ConfigMap review-sentiment-config", APPLY),
    If("configuration", {CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}}}).fails(
        "review-sentiment-config lacks STATE_DIR", APPLY
    ),
    If("storage", {CLAIM: None}).fails("no PersistentVolumeClaim review-sentiment-state", APPLY),
    If("storage", claim("Lost")).fails("is Lost", "describe pvc"),
    If("storage", claim("Pending")).fails("no default one", "kubectl get storageclass"),
    If("storage", claim("Pending", **NFS)).fails("nfs, which does not exist", "get storageclass"),
    If("storage", claim("Pending", "WaitForFirstConsumer", **NFS)).warns(
        "of storage class nfs, made for the first pod that mounts it"
    ),
    If("storage", claim("Pending", "Immediate", **NFS)).fails("waits for a volume", "describe pvc"),
    If("service account", {ACCOUNT: None}).fails("account review-sentiment-pipeline", APPLY),
    If("PriorityClass", {PRIORITY: None}).fails("there is no PriorityClass low", APPLY),
    If("server", {STORE_SECRET: None}, secrets=EXPECTED.secrets).fails(
        "there is no Secret", "--from-literal=PGHOST=… --from-literal=PGPASSWORD=…"
    ),
    If("server", {MLFLOW_SECRET: None}).fails("no Secret review-sentiment-ml", "mlflow --from"),
    If("server", mlflow(ready=0)).fails("mlflow, 0 of 1 pod ready", "describe deployment mlflow"),
    If("server", mlflow(ready=1, replicas=2)).warns("1 of 2 pods ready", "describe deployment mlf"),
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
    If("GPUs", {}, gpus=8).fails("that training can use; it asks for 8", "TRAINING_GPUS=4"),
    If("GPUs", BUSY).warns("1 free; training that asks for 2 waits", "kubectl get pods -A"),
    If("GPUs", nodes(BARE)).fails("0 on 0 nodes", "label node gpu-1 nvidia.com/gpu.present=true"),
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
    If("GPUs", {"/api/v1/pods": listed()}, gpus=4).passes("that training can use, 4 free"),
    If("GPUs", nodes(gpu_node(**PREFERRED_NOT))).passes("4 on 1 node"),
    If("GPUs", {"/api/v1/pods": listed(INIT)}, gpus=1).passes("1 free"),
    If("namespace", namespace(**{COLLECTOR: "enabled"})).passes("is injected into trials"),
    If("namespace", namespace(**ADMITTED) | {KATIB_CONFIG: {"data": {}}}).passes("policy fills in"),
    If("quota", FULL | limit("Pod", memory="32G")).passes("largest step (8 cpu, 32G memory)"),
]
