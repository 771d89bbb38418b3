"""What a cluster answers on which everything is as it should be."""

import yaml

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
        Permission("kubeflow.org", "experiments", "create"),
        Permission("kubeflow.org", "experiments", "delete"),
        Permission("", "pods/log", "get"),
        Permission("", "configmaps", "get", "kfp-launcher"),
    ),
    largest_step={"cpu": "8", "memory": "32G"},
    gpus=2,
)

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{names.SERVICE_ACCOUNT}"
SECURED = {"runAsNonRoot": True, "allowPrivilegeEscalation": False}


def katib_config(inject, suggestion):
    """Katib's configuration, with what decides over Pod Security."""
    contexts = {"tpe": SECURED, "random": suggestion}
    suggestions = [{"algorithmName": k, "securityContext": v} for k, v in contexts.items()]
    controller = {"controller": {"injectSecurityContext": inject}}
    config = {"init": controller, "runtime": {"suggestions": suggestions}}
    return {"data": {"katib-config.yaml": yaml.safe_dump(config)}}


def group(*plurals):
    """A version of an API group, as discovery tells it."""
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
    """A Deployment with one container."""
    template = {"spec": {"containers": [{"image": image, **container}]}}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "template": template},
        "status": {"availableReplicas": ready, "readyReplicas": ready},
    }


def gpu_node(name="gpu-1", gpus=4, **spec):
    """A GPU node as the operator sets it up."""
    taint = {"key": names.GPU, "value": "present", "effect": "NoSchedule"}
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": name, "labels": dict([names.GPU_NODE_LABEL])},
        "spec": {"taints": [taint], **spec},
        "status": {"allocatable": {names.GPU: str(gpus)}, "conditions": ready},
    }


def gpu_pod(gpus, node="gpu-1"):
    """A pod that holds GPUs."""
    return {"spec": {"nodeName": node, "containers": [gpu_limits(gpus), {}]}}


def gpu_limits(gpus):
    """A container that holds GPUs."""
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
        "/openapi/v3/apis/serving.kserve.io/v1beta1": schema("InferenceService", "spec", "canary"),
        "/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": schema(
            "TrainJob", "spec", "runtimePatches"
        ),
        "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1/healthz": {
            "multi_user": True
        },
        KATIB_CONFIG: katib_config(True, SECURED),
        INITIALIZER: {"spec": {"container": {"securityContext": SECURED}}},
        f"/api/v1/namespaces/{NAMESPACE}": {
            "metadata": {"labels": {ENFORCE: "restricted", COLLECTOR: "enabled"}},
            "status": {"phase": "Active"},
        },
        CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000", "STATE_DIR": "/state"}},
        CLAIM: {
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "nfs"},
            "status": {"phase": "Bound", "capacity": {"storage": "20Gi"}},
        },
        DEPLOYMENTS: {
            "items": [deployment("mlflow", NAMESPACE, "mlflow:1", replicas=2, ready=2, env=[user])]
        },
        f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets": {"items": []},
        RUNTIMES: {"items": [{"template": [{"spec": {"priorityClassName": "low"}}]}]},
        f"{RUNTIMES}/{names.TRAINING_RUNTIME}": {},
        f"{SERVING_RUNTIMES}/review-sentiment": {},
        PRIORITY: {},
        f"{IN}/resourcequotas": {"items": []},
        f"{IN}/limitranges": {"items": []},
        f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}": {},
        f"{IN}/serviceaccounts/{names.PREDICTOR_SERVICE_ACCOUNT}": {},
        f"{IN}/secrets/{names.FEATURE_STORE_SECRET}": {},
        f"{IN}/secrets/review-sentiment-mlflow": {},
        "/api/v1/nodes": {"items": [gpu_node(), {"metadata": {"name": "cpu-1"}}]},
        "/api/v1/pods": {"items": [gpu_pod(1)]},
    }
    for namespace, name, image in (
        ("kubeflow", "ml-pipeline", "ghcr.io/kubeflow/kfp-api-server:2.17.0"),
        ("kubeflow", "katib-controller", "ghcr.io/kubeflow/katib:v0.19.0"),
        ("kubeflow-system", "kubeflow-trainer-controller-manager", "kubeflow/trainer:v2.3.0"),
        ("kserve", "kserve-controller-manager", f"kserve/controller:v0.21.0@sha256:{'0' * 64}"),
    ):
        address = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        made = deployment(name, namespace, image)
        found.setdefault(address, {"items": []})["items"].append(made)
    return found
