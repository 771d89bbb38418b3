"""The KServe InferenceService that serves a version of the model: what is asked of the cluster."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from components.deployment.kserve.service_state import (
    AFTER_REVISION_ANNOTATION,
    CANARY_ANNOTATION,
    CANARY_DIGEST_ANNOTATION,
    DIGEST_ANNOTATION,
    EVIDENCE_ANNOTATION,
    FIRST_ANNOTATION,
    MODE_ANNOTATION,
    REJECTED_ANNOTATION,
    REJECTED_BECAUSE_ANNOTATION,
    SHADOW_ANNOTATION,
    VERSION_ANNOTATION,
    Mode,
)
from components.shared.kubernetes.namespace_objects import (
    PART_OF,
    PART_OF_LABEL,
    PREDICTOR_SERVICE_ACCOUNT,
    RUN_AS_USER,
    SERVING_PRIORITY,
)
from components.shared.machine.errors import UserError

RUNTIME = "review-sentiment"
"""ServingRuntime and model format of `manifests/base/serving/servingruntime.yaml`."""

_KEPT_ON_THE_SERVICE = (
    SHADOW_ANNOTATION,
    CANARY_ANNOTATION,
    CANARY_DIGEST_ANNOTATION,
    AFTER_REVISION_ANNOTATION,
    EVIDENCE_ANNOTATION,
    REJECTED_ANNOTATION,
    REJECTED_BECAUSE_ANNOTATION,
    FIRST_ANNOTATION,
)

AUTOSCALER_ANNOTATION = "serving.kserve.io/autoscalerClass"

# RFC 1123 label, short enough for the suffixes that KServe and Knative append.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_STORAGE = re.compile(r"(s3|gs|hf|pvc|https?|abfss?|oci)://\S+")
_PRE_STOP_SECONDS = 5
_SHORTEST_GRACE = 55
"""Seconds: the runtime's `--drain-seconds`, the preStop hook, and a few to end."""


@dataclass(frozen=True)
class Autoscaling:
    """What makes KServe start and end pods.

    Attributes:
        metric: `concurrency` or `rps` (requests at a time, requests per second and pod; Knative's
            autoscaler), `cpu` or `memory` (percent of the request; a HorizontalPodAutoscaler),
            `prometheus` (a query; KEDA), or `none` (always the fewest pods).
        target: Of the metric, per pod; for a query its threshold.
        server: Address of Prometheus, for a query.
        query: In PromQL.
    """

    metric: Literal["concurrency", "rps", "cpu", "memory", "prometheus", "none"]
    target: int = 0
    server: str = ""
    query: str = ""


AUTOSCALING = {
    "Knative": Autoscaling("concurrency", 16),
    "Standard": Autoscaling("cpu", 70),
}
"""Used where nothing else is asked for."""

_METRICS = {
    "Knative": ("concurrency", "rps"),
    "Standard": ("cpu", "memory", "prometheus", "none"),
}


@dataclass(frozen=True)
class ServiceSettings:
    """How much of the cluster a service gets, and how it behaves there.

    Attributes:
        min_replicas: Fewest pods. A canary in Standard mode has a fixed number of pods and never
            more than this, so it should be what all of the traffic needs; 0 only in Knative mode.
        max_replicas: Most pods.
        cpu: Request and limit of a pod, in cores.
        memory: Request and limit of a pod, as a Kubernetes quantity.
        autoscaling: What starts and ends pods; `AUTOSCALING` of the mode where None.
        timeout_seconds: Longest time of a request. In Knative mode also the time that a pod has
            to end; at least 55, for the server drains for up to 45.
        grace_seconds: Time that a pod has to end in Standard mode; at least 55 likewise.
        grpc: Serve gRPC on port 8081 too; Standard mode only, Knative allows one port.
        server_arguments: Further arguments of the model server.
    """

    min_replicas: int = 1
    max_replicas: int = 3
    cpu: str = "2"
    memory: str = "4Gi"
    autoscaling: Autoscaling | None = None
    timeout_seconds: int = 60
    grace_seconds: int = 60
    grpc: bool = False
    server_arguments: tuple[str, ...] = ()


def render_inference_service(
    model_name: str,
    version: str,
    storage_uri: str,
    *,
    mode: Mode = "Standard",
    model_digest: str = "",
    settings: ServiceSettings | None = None,
) -> dict[str, Any]:
    """Describe the service of a model version.

    Image, command, probes and the container's security context are the ServingRuntime's; the
    service says which model, how much of the machine, and how many.

    Args:
        model_name: Name of the service, and of the model in its URLs.
        version: Version in the registry; told in every answer.
        storage_uri: Where KServe fetches the model folder from.
        mode: KServe's deployment mode.
        model_digest: SHA-256 of the weights, kept as an annotation.
        settings: Size and scaling.

    Returns:
        The object, as `kubectl apply` takes it.

    Raises:
        UserError: If the name cannot be a service's name, the URI is none that KServe reads, or
            the settings do not fit the mode.
    """
    settings = settings or ServiceSettings()
    if not _NAME.fullmatch(model_name):
        raise UserError(
            f"model name {model_name!r} cannot name a service; "
            "use at most 40 lower-case letters, digits and hyphens, a letter first"
        )
    if min(settings.timeout_seconds, settings.grace_seconds) < _SHORTEST_GRACE:
        raise UserError(
            f"timeout_seconds and grace_seconds must be at least {_SHORTEST_GRACE}: a pod that "
            "ends sooner loses what it accepted"
        )
    annotations = {MODE_ANNOTATION: mode, "serving.kserve.io/enable-prometheus-scraping": "true"}
    annotations |= {VERSION_ANNOTATION: version}
    if model_digest:
        annotations[DIGEST_ANNOTATION] = model_digest
    predictor: dict[str, Any] = {
        "minReplicas": settings.min_replicas,
        "maxReplicas": settings.max_replicas,
        **_scaling(mode, settings, annotations),
        "timeout": settings.timeout_seconds,
        # KServe takes the credentials of the model storage from this account's Secrets.
        "serviceAccountName": PREDICTOR_SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "annotations": pod_annotations(version, model_digest),
        "model": model_of(version, storage_uri, mode, settings),
    }
    if mode == "Knative":
        # Hosts `latest-` and `prev-`, to ask a canary that gets no traffic yet. Knative refuses
        # the pod's securityContext, priority and termination grace period by default; the
        # container's securityContext is the ServingRuntime's, the grace period follows from the
        # timeout.
        annotations["serving.kserve.io/enable-tag-routing"] = "true"
    else:
        predictor["terminationGracePeriodSeconds"] = settings.grace_seconds
        predictor["priorityClassName"] = SERVING_PRIORITY
        predictor["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": RUN_AS_USER,
            "runAsGroup": RUN_AS_USER,
            "fsGroup": RUN_AS_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": model_name,
            "labels": {
                "app.kubernetes.io/name": model_name,
                PART_OF_LABEL: PART_OF,
            },
            "annotations": annotations,
        },
        "spec": {"predictor": predictor},
    }


def model_of(
    version: str, storage_uri: str, mode: Mode, settings: ServiceSettings
) -> dict[str, Any]:
    """The part of a service that names the model: `spec.predictor.model`.

    Raises:
        UserError: If KServe cannot fetch the model, or gRPC is wanted in Knative mode.
    """
    # A folder of this machine is for a site on this machine; a cluster could not read it.
    if not _STORAGE.fullmatch(storage_uri) and not storage_uri.startswith("file:///"):
        raise UserError(
            f"KServe cannot fetch a model from {storage_uri!r}; "
            "give an s3, gs, hf, pvc, https, abfs or oci URI"
        )
    resources = {"cpu": settings.cpu, "memory": settings.memory}
    model: dict[str, Any] = {
        "modelFormat": {"name": RUNTIME},
        "runtime": RUNTIME,
        "protocolVersion": "v2",
        "storageUri": storage_uri,
        "env": [{"name": "MODEL_VERSION", "value": version}],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }
    arguments = list(settings.server_arguments)
    if settings.grpc:
        if mode == "Knative":
            raise UserError("Knative allows one port: serve gRPC in Standard mode, or leave it off")
        # KServe appends these arguments to the runtime's and adds the port to its ports.
        arguments.append("--grpc-port=8081")
        model["ports"] = [{"containerPort": 8081, "name": "h2c", "protocol": "TCP"}]
    if arguments:
        model["args"] = arguments
    if mode == "Standard":
        # The pod is taken off the endpoints while it still answers; then SIGTERM drains it.
        model["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", str(_PRE_STOP_SECONDS)]}}}
    return model


def pod_annotations(version: str, model_digest: str) -> dict[str, str]:
    """Annotations of one version's pods: `spec.predictor.annotations`.

    KServe copies a service's own annotations to its pods, where a change makes a new Knative
    revision or restarts a Deployment. Those of `spec.predictor` come before them (buildObjectMeta
    in KServe's components/predictor.go), so each annotation that a rollout changes has a fixed
    value here: the service's bookkeeping then never touches a pod.
    """
    return {
        VERSION_ANNOTATION: version,
        DIGEST_ANNOTATION: model_digest,
        **dict.fromkeys(_KEPT_ON_THE_SERVICE, "see the InferenceService"),
    }


def _scaling(mode: Mode, settings: ServiceSettings, annotations: dict[str, str]) -> dict[str, Any]:
    """Autoscaling fields of the predictor; the autoscaler's class goes into the annotations."""
    wanted = settings.autoscaling or AUTOSCALING[mode]
    fewest = 0 if mode == "Knative" else 1
    if not fewest <= settings.min_replicas <= settings.max_replicas or settings.max_replicas < 1:
        raise UserError(
            f"{settings.min_replicas} to {settings.max_replicas} replicas cannot be had in {mode} "
            f"mode; give at least {fewest}, and no more as the minimum than as the maximum"
        )
    if wanted.metric not in _METRICS[mode]:
        raise UserError(
            f"{mode} mode does not scale by {wanted.metric}; use {' or '.join(_METRICS[mode])}"
        )
    if wanted.metric != "none" and wanted.target < 1:
        raise UserError(f"autoscaling by {wanted.metric} needs a target of at least 1")
    if wanted.metric in ("cpu", "memory") and wanted.target > 100:
        raise UserError(
            f"autoscaling by {wanted.metric} has a target in percent of the request; "
            f"{wanted.target} is more than 100"
        )
    if mode == "Knative":
        return {"scaleMetric": wanted.metric, "scaleTarget": wanted.target}
    annotations[AUTOSCALER_ANNOTATION] = {"prometheus": "keda", "none": "none"}.get(
        wanted.metric, "hpa"
    )
    if wanted.metric == "prometheus":
        if not wanted.server or not wanted.query:
            raise UserError("autoscaling by prometheus needs its server's address and a query")
        metric = {"backend": "prometheus", "serverAddress": wanted.server, "query": wanted.query}
        target = {"type": "Value", "value": str(wanted.target)}
        external = {"type": "External", "external": {"metric": metric, "target": target}}
        return {"autoScaling": {"metrics": [external]}}
    if wanted.metric == "none":
        return {}
    return {"scaleMetric": wanted.metric, "scaleTarget": wanted.target}


def canary_name(version: str) -> str:
    """Name of a version in Standard mode: part of its Deployment's and Service's name.

    `<service>-<name>-predictor` has to be a DNS label of at most 63 characters, so a version that
    is long or has other characters is named by a hash.
    """
    name = f"v{version}"
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?", name):
        return name
    return "v" + hashlib.sha256(version.encode()).hexdigest()[:8]


def storage_uri_of(artifact_uri: str, model_name: str, version: str) -> str:
    """Where a cluster fetches the model from.

    Args:
        artifact_uri: The model artifact's URI, as Kubeflow Pipelines gives it.
        model_name: Registered model.
        version: Its version.

    Returns:
        The artifact's URI in KServe's spelling (MinIO speaks S3); where the artifact lies on one
        machine only, the place in a bucket `models` that it has to be copied to.
    """
    if artifact_uri.startswith("minio://"):
        return "s3://" + artifact_uri.removeprefix("minio://")
    if _STORAGE.fullmatch(artifact_uri):
        return artifact_uri
    return f"s3://models/{model_name}/{version}"


def to_yaml(manifest: dict[str, Any]) -> str:
    """An object as YAML, its keys in the order given."""
    import yaml

    text: str = yaml.safe_dump(manifest, sort_keys=False)
    return text
