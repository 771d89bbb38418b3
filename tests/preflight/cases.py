"""What can be wrong with a cluster, and what is just enough: row, change, and what is said."""

from components.preflight.finding import State
from components.preflight.namespace_checks import COLLECTOR, ENFORCE
from components.shared.kubernetes import namespace_objects as names
from tests.preflight.healthy_cluster import (
    CLAIM,
    CONFIG,
    DEPLOYMENTS,
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

FAILED, WARNING, SKIPPED = State.FAILED, State.WARNING, State.SKIPPED
KFP_DEPLOYMENTS = "/apis/apps/v1/namespaces/kubeflow/deployments"
CLASS = "/apis/storage.k8s.io/v1/storageclasses/nfs"


def claim(phase, **spec):
    return {"spec": spec, "status": {"phase": phase}}


def labelled(**labels):
    return {"metadata": {"labels": labels}, "status": {"phase": "Active"}}


def nodes(*found):
    return {"items": list(found)}


def quota(hard, used=()):
    status = {"hard": hard, "used": dict(used)}
    return {"items": [{"metadata": {"name": "team"}, "status": status}]}


def limit(kind, **most):
    spec = {"limits": [{"type": kind, "max": most}]}
    return {"items": [{"metadata": {"name": "team"}, "spec": spec}]}


TAINTED = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
EVICTING = {"taints": [{"key": names.GPU, "effect": "NoExecute"}]}
BARE = {**gpu_node(), "metadata": {"name": "gpu-1"}}
BROKEN = {**gpu_node()["status"], "conditions": [{"type": "Ready", "status": "Unknown"}]}

CASES = {
    "no Katib": (
        "Katib",
        {"/apis/kubeflow.org/v1beta1": None},
        (FAILED, "no kubeflow.org/v1beta1 experiments, trials: no tuning", "katib-standalone"),
    ),
    "the training operator instead of Katib": (
        "Katib",
        {"/apis/kubeflow.org/v1beta1": group("pytorchjobs", "trials")},
        (FAILED, "there is no kubeflow.org/v1beta1 experiments: no tuning", "katib-standalone"),
    ),
    "no Argo": (
        "Argo Workflows",
        {"/apis/argoproj.io/v1alpha1": None},
        (FAILED, "no pipeline runs", "kubeflow/pipelines.git"),
    ),
    "Trainer without runtimePatches": (
        "Kubeflow Trainer",
        {"/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": schema("TrainJob", "spec", "trainer")},
        (FAILED, "TrainJob has no spec.runtimePatches: it is older than 2.2", "ref=v2.3.0"),
    ),
    "KServe without spec.canary": (
        "KServe",
        {"/openapi/v3/apis/serving.kserve.io/v1beta1": schema("InferenceService", "spec")},
        (WARNING, "has no spec.canary: canaries work in Knative mode only", "v0.21.0"),
    ),
    "nothing that splits traffic": (
        "traffic splitting",
        {"/apis/gateway.networking.k8s.io/v1": None},
        (WARNING, "neither the Gateway API nor Knative: a model", "gateway-api"),
    ),
    "an old Katib": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "katib:v0.18.0"))},
        (WARNING, "0.18.0 (katib-controller in namespace kubeflow); written for 0.19", ""),
    ),
    "a controller that is down": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "k:v0.19.0", ready=0))},
        (FAILED, "katib-controller in namespace kubeflow has no ready pod", "-n kubeflow describe"),
    ),
    "an image without a version": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "r:5000/katib"))},
        (SKIPPED, "r:5000/katib says no version; 0.19 or later", ""),
    ),
    "no namespace": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": None},
        (FAILED, "there is no usable namespace", "kubectl apply -k"),
    ),
    "a namespace that goes": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": {"metadata": {}, "status": {"phase": "Terminating"}}},
        (FAILED, "reviews is being deleted", "kubectl wait --for=delete namespace/reviews"),
    ),
    "no Pod Security": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{COLLECTOR: "enabled"})},
        (WARNING, "nothing is enforced", f"label namespace reviews {ENFORCE}=restricted"),
    ),
    "trials without a collector": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{ENFORCE: "restricted"})},
        (FAILED, "no trial would report its metrics", f"{COLLECTOR}=enabled"),
    ),
    "a Katib whose pods are refused": (
        "namespace",
        {KATIB_CONFIG: katib_config(False, SECURED)},
        (FAILED, "katib-config lacks injectSecurityContext", "edit configmap katib-config"),
    ),
    "a Katib whose search is refused": (
        "namespace",
        {KATIB_CONFIG: katib_config(True, {"allowPrivilegeEscalation": True})},
        (FAILED, "lacks a securityContext of the suggestion random", "manifests/README.md"),
    ),
    "a Katib that is as it came": (
        "namespace",
        {KATIB_CONFIG: {"data": {}}},
        (FAILED, "lacks injectSecurityContext and a securityContext", "manifests/README.md"),
    ),
    "a KServe whose pods are refused": (
        "namespace",
        {INITIALIZER: {"spec": {"container": {"name": "storage-initializer"}}}},
        (WARNING, "its storage initializer has no security context", "clusterstoragecontainer"),
    ),
    "no ConfigMap": (
        "configuration",
        {CONFIG: None},
        (FAILED, "there is no ConfigMap review-sentiment-config", "kubectl apply -k"),
    ),
    "a ConfigMap without a key": (
        "configuration",
        {CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}}},
        (FAILED, "review-sentiment-config lacks STATE_DIR", "kubectl apply -k"),
    ),
    "no claim": (
        "storage",
        {CLAIM: None},
        (FAILED, "there is no PersistentVolumeClaim review-sentiment-state", "kubectl apply -k"),
    ),
    "a lost volume": ("storage", {CLAIM: claim("Lost")}, (FAILED, "is Lost", "describe pvc")),
    "no default storage class": (
        "storage",
        {CLAIM: claim("Pending")},
        (FAILED, "the cluster has no default one", "kubectl get storageclass"),
    ),
    "an unknown storage class": (
        "storage",
        {CLAIM: claim("Pending", storageClassName="nfs")},
        (FAILED, "storage class nfs, which does not exist", "kubectl get storageclass"),
    ),
    "a volume that is made for the first pod": (
        "storage",
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "WaitForFirstConsumer"},
        },
        (WARNING, "of storage class nfs, made for the first pod that mounts it", ""),
    ),
    "a volume that is not made": (
        "storage",
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "Immediate"},
        },
        (FAILED, "waits for a volume of storage class nfs", "describe pvc"),
    ),
    "no service account": (
        "service account",
        {f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}": None},
        (FAILED, "there is no service account review-sentiment-pipeline", "kubectl apply -k"),
    ),
    "no priority class": (
        "PriorityClass",
        {PRIORITY: None},
        (FAILED, "there is no PriorityClass low", "kubectl apply -k"),
    ),
    "no Secret for the steps": (
        "server",
        {f"{IN}/secrets/{names.FEATURE_STORE_SECRET}": None},
        (FAILED, "there is no Secret", "--from-literal=PGHOST=… --from-literal=PGPASSWORD=…"),
    ),
    "no Secret for a server": (
        ("server", {"secrets": {}}),
        {f"{IN}/secrets/review-sentiment-mlflow": None},
        (FAILED, "no Secret review-sentiment-mlflow", "generic review-sentiment-mlflow --from"),
    ),
    "a server that is down": (
        ("server", {"secrets": {}}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=0))},
        (FAILED, "Deployment mlflow, 0 of 1 pod ready", "describe deployment mlflow"),
    ),
    "a server that is half up": (
        ("server", {"secrets": {}}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=1, replicas=2))},
        (WARNING, "Deployment mlflow, 1 of 2 pods ready", "describe deployment mlflow"),
    ),
    "too small a quota": (
        "quota",
        {f"{IN}/resourcequotas": quota({"limits.memory": "16Gi"})},
        (FAILED, "team allows 16Gi limits.memory; the largest step asks for 32G", "edit"),
    ),
    "a quota that is used up": (
        "quota",
        {f"{IN}/resourcequotas": quota({"requests.cpu": "10"}, {"requests.cpu": "2500m"})},
        (WARNING, "10 requests.cpu, of which 2500m are taken; a step that asks for 8 waits", "pod"),
    ),
    "too low a limit": (
        "quota",
        {f"{IN}/limitranges": limit("Container", memory="8Gi")},
        (FAILED, "team allows a container 8Gi memory; the largest step asks for 32G", "edit"),
    ),
    "no GPU": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes({"metadata": {"name": "cpu-1"}})},
        (FAILED, "no node offers nvidia.com/gpu, the training asks for 2", "TRAINING_GPUS=0"),
    ),
    "too few GPUs": (
        ("GPUs", {"gpus": 8}),
        {},
        (FAILED, "4 on 1 node that training can use; it asks for 8", "TRAINING_GPUS=4"),
    ),
    "GPUs that are busy": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/pods": nodes(gpu_pod(1), gpu_pod(2), gpu_pod(4, "gpu-2"))},
        (WARNING, "1 free; training that asks for 2 waits", "kubectl get pods -A"),
    ),
    "a GPU node without its label": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(BARE)},
        (FAILED, "0 on 0 nodes", "kubectl label node gpu-1 nvidia.com/gpu.present=true"),
    ),
    "a GPU node with a strange taint": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**TAINTED), gpu_node("gpu-2"))},
        (WARNING, "its taint team=a:NoSchedule is not tolerated", "taint node gpu-1 team:NoSch"),
    ),
    "a GPU node that evicts": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**EVICTING), gpu_node("gpu-2"))},
        (WARNING, "its taint nvidia.com/gpu:NoExecute is not tolerated", "NoExecute-"),
    ),
    "a cordoned GPU node": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(unschedulable=True), gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is cordoned", "kubectl uncordon gpu-1"),
    ),
    "a GPU node that is down": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes({**gpu_node(), "status": BROKEN}, gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is not ready", "kubectl describe node gpu-1"),
    ),
}


PREFERRED_NOT = {"taints": [{"key": "team", "effect": "PreferNoSchedule"}]}
FILLED_IN = "review-sentiment/pod-security-defaults"
FULL = {"requests.cpu": "10", "limits.memory": "32G"}, {"requests.cpu": "2"}
INIT = {"spec": {"nodeName": "gpu-1", "containers": [{}], "initContainers": [gpu_limits(3)]}}

EDGES = {
    "as many GPUs as are asked for": (
        ("GPUs", {"gpus": 4}),
        {"/api/v1/pods": nodes()},
        "4 on 1 node that training can use, 4 free",
    ),
    "a taint that only prefers": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**PREFERRED_NOT))},
        "4 on 1 node",
    ),
    "a GPU that an init container holds": (
        ("GPUs", {"gpus": 1}),
        {"/api/v1/pods": nodes(INIT)},
        "1 free",
    ),
    "operators that leave it to our admission policy": (
        "namespace",
        {
            f"/api/v1/namespaces/{NAMESPACE}": labelled(
                **{ENFORCE: "restricted", COLLECTOR: "enabled", FILLED_IN: "enabled"}
            ),
            KATIB_CONFIG: {"data": {}},
        },
        "our admission policy fills in",
    ),
    "a quota that the largest step just fits": (
        "quota",
        {f"{IN}/resourcequotas": quota(*FULL), f"{IN}/limitranges": limit("Pod", memory="32G")},
        "leaves room for the largest step (8 cpu, 32G memory)",
    ),
}
