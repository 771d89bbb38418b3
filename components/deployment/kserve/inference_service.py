"""The KServe InferenceService that serves a version of the model: what is asked of the cluster."""

import re
from dataclasses import dataclass
from typing import Any

from components.deployment.kserve.state import (
    AUTOSCALER_ANNOTATION,
    DIGEST_ANNOTATION,
    FIRST_ANNOTATION,
    MODE_ANNOTATION,
    VERSION_ANNOTATION,
    Mode,
    pod_annotations,
)
from components.shared.kubernetes.namespace_objects import (
    PART_OF,
    PART_OF_LABEL,
    PREDICTOR_SERVICE_ACCOUNT,
    RUN_AS_USER,
    SERVING_PRIORITY,
)
from components.shared.machine.errors import UserError
from components.shared.machine.options import Options, option
from components.shared.records.payloads import check_no_password

RUNTIME = "review-sentiment"
"""ServingRuntime and model format of `manifests/base/serving/servingruntime.yaml`."""

# RFC 1123 label, short enough for the suffixes that KServe and Knative append.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_STORAGE = re.compile(r"(s3|gs|hf|pvc|https?|abfss?|oci)://\S+")
_PRE_STOP_SECONDS = 5
_PAYLOAD_LOG = "--payload-log"

_METRICS = {
    "Knative": {"concurrency": 16, "rps": 0},
    "Standard": {"cpu": 70, "memory": 0, "prometheus": 0, "none": 0},
}
"""What each mode scales by, the default first, with the default's target."""


@dataclass(frozen=True)
class ServiceSettings(Options, called="service setting"):
    """How much of the cluster a service gets, and how it behaves there.

    A canary in Standard mode has a fixed number of pods and never more than `min_replicas`, so that
    should be what all of the traffic needs.
    """

    min_replicas: int = option(1, "fewest pods; 0 only in Knative mode", 0, 1000)
    max_replicas: int = option(3, "most pods", 1, 1000)
    cpu: str = option("2", "request and limit of a pod, in cores")
    memory: str = option("4Gi", "request and limit of a pod, as a Kubernetes quantity")
    scale_by: str = option(
        "",
        "Knative: concurrency (default) or rps, requests at a time or per second and pod; "
        "Standard: cpu (default) or memory, percent of the request, prometheus, a query, or none",
        choices=("", *_METRICS["Knative"], *_METRICS["Standard"]),
    )
    scale_target: int = option(
        0, "of the metric per pod, or the query's threshold; 0: 16 or 70 for the default", 0, 10**9
    )
    prometheus_server: str = option("", "address of Prometheus, to scale by a query")
    prometheus_query: str = option("", "the query, in PromQL")
    timeout_seconds: int = option(
        60,
        "longest time of a request; in Knative mode also the time that a pod has to end, of at "
        "least 55, for the server answers for up to 45 what it accepted",
        55,
        86400,
    )
    grace_seconds: int = option(
        60, "time that a pod has to end in Standard mode; at least 55 too", 55, 86400
    )
    grpc: bool = option(False, "serve gRPC on port 8081 too; Standard mode only")
    server_arguments: tuple[str, ...] = option((), "further arguments of the model server")
    payload_uri: str = option(
        "",
        "folder or object prefix that the version logs its answers to; where the stable version "
        "was rolled out with the same, a shadow's answers are compared with its own",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_no_password(self.payload_uri)

    @property
    def arguments(self) -> tuple[str, ...]:
        """All further arguments of the model server."""
        named = {word.partition("=")[0] for word in self.server_arguments}
        if not self.payload_uri or _PAYLOAD_LOG in named:
            return self.server_arguments
        return (*self.server_arguments, f"{_PAYLOAD_LOG}={self.payload_uri}")


def render_inference_service(
    model_name: str,
    version: str,
    storage_uri: str,
    *,
    mode: Mode = "Standard",
    model_digest: str = "",
    settings: ServiceSettings | None = None,
    first: bool = False,
) -> dict[str, Any]:
    """Describe the service of a model version.

    Image, command, probes and the container's security context are the ServingRuntime's; the
    service says which model, how much of the machine, and how many.

    Args:
        model_name: Name of the service, and of the model in its URLs.
        version: Version in the registry; named in every answer.
        storage_uri: Where KServe fetches the model folder from.
        mode: KServe's deployment mode.
        model_digest: Digest of its file list in the registry; the server refuses other files.
        settings: Size and scaling.
        first: Mark it as a first deployment that has not been promoted.

    Returns:
        The object, as `kubectl apply` takes it.

    Raises:
        UserError: If the name cannot be a service's name, KServe cannot read from the URI, or the
            settings do not fit the mode.
    """
    settings = settings or ServiceSettings()
    if not _NAME.fullmatch(model_name):
        raise UserError(
            f"model name {model_name!r} cannot name a service; "
            "use at most 40 lower-case letters, digits and hyphens, a letter first"
        )
    annotations = {MODE_ANNOTATION: mode, "serving.kserve.io/enable-prometheus-scraping": "true"}
    annotations |= {VERSION_ANNOTATION: version}
    if model_digest:
        annotations[DIGEST_ANNOTATION] = model_digest
    if first:
        annotations[FIRST_ANNOTATION] = "in progress"
    predictor: dict[str, Any] = {
        "minReplicas": settings.min_replicas,
        "maxReplicas": settings.max_replicas,
        **_scaling(mode, settings, annotations),
        "timeout": settings.timeout_seconds,
        # KServe takes the credentials of the model storage from this account's Secrets.
        "serviceAccountName": PREDICTOR_SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "annotations": pod_annotations(version, model_digest),
        "model": model_of(version, storage_uri, mode, settings, model_digest),
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
            "labels": {"app.kubernetes.io/name": model_name, PART_OF_LABEL: PART_OF},
            "annotations": annotations,
        },
        "spec": {"predictor": predictor},
    }


def model_of(
    version: str,
    storage_uri: str,
    mode: Mode,
    settings: ServiceSettings,
    model_digest: str,
) -> dict[str, Any]:
    """The part of a service that names the model: `spec.predictor.model`."""
    if not _STORAGE.fullmatch(storage_uri):
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
        "env": [
            {"name": "MODEL_VERSION", "value": version},
            {"name": "MODEL_DIGEST", "value": model_digest},
        ],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }
    arguments = list(settings.arguments)
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


def storage_uri_of(artifact_uri: str, model_name: str, version: str) -> str:
    """The artifact's URI in KServe's spelling (MinIO speaks S3).

    Where the artifact lies on one machine only, the place in a bucket `models` to copy it to.
    """
    if artifact_uri.startswith("minio://"):
        return "s3://" + artifact_uri.removeprefix("minio://")
    if _STORAGE.fullmatch(artifact_uri):
        return artifact_uri
    return f"s3://models/{model_name}/{version}"


def _scaling(mode: Mode, settings: ServiceSettings, annotations: dict[str, str]) -> dict[str, Any]:
    """Autoscaling fields of the predictor; the autoscaler's class goes into the annotations."""
    fewest = 0 if mode == "Knative" else 1
    if not fewest <= settings.min_replicas <= settings.max_replicas:
        raise UserError(
            f"{settings.min_replicas} to {settings.max_replicas} replicas cannot be had in {mode} "
            f"mode; give at least {fewest}, and no more as the minimum than as the maximum"
        )
    metric = settings.scale_by or next(iter(_METRICS[mode]))
    if metric not in _METRICS[mode]:
        raise UserError(f"{mode} mode does not scale by {metric}; use {', '.join(_METRICS[mode])}")
    target = settings.scale_target or _METRICS[mode][metric]
    if metric == "none":
        annotations[AUTOSCALER_ANNOTATION] = "none"
        return {}
    if target < 1 or (metric in ("cpu", "memory") and target > 100):
        most = " and at most 100, percent of the request" if metric in ("cpu", "memory") else ""
        raise UserError(f"to scale by {metric}, scale_target must be at least 1{most}")
    if mode == "Standard":
        annotations[AUTOSCALER_ANNOTATION] = "keda" if metric == "prometheus" else "hpa"
    if metric != "prometheus":
        return {"scaleMetric": metric, "scaleTarget": target}
    if not settings.prometheus_server or not settings.prometheus_query:
        raise UserError("to scale by prometheus, give prometheus_server and prometheus_query")
    asked = {
        "backend": "prometheus",
        "serverAddress": settings.prometheus_server,
        "query": settings.prometheus_query,
    }
    wanted = {"type": "Value", "value": str(target)}
    external = {"type": "External", "external": {"metric": asked, "target": wanted}}
    return {"autoScaling": {"metrics": [external]}}
