"""The KServe InferenceService that serves one version of the model."""

import re
from typing import Any, Literal

from components.contracts.errors import UserError

RUNTIME = "review-sentiment"
"""ServingRuntime and model format of `manifests/base/serving/servingruntime.yaml`."""

VERSION_ANNOTATION = "review-sentiment/model-version"
DIGEST_ANNOTATION = "review-sentiment/model-digest"

# RFC 1123 label, short enough for the suffixes that KServe and Knative append.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_STORAGE = re.compile(r"(s3|gs|hf|pvc|https?|abfss?|oci)://\S+")


def render_inference_service(
    model_name: str,
    version: str,
    storage_uri: str,
    *,
    mode: Literal["Knative", "Standard"] = "Standard",
    model_digest: str = "",
    min_replicas: int = 1,
    max_replicas: int = 3,
    cpu: str = "2",
    memory: str = "4Gi",
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
        min_replicas: Fewest pods.
        max_replicas: Most pods.
        cpu: Request and limit of a pod, in cores.
        memory: Request and limit of a pod, as a Kubernetes quantity.

    Returns:
        The object, as `kubectl apply` takes it.

    Raises:
        UserError: If the name cannot be a service's name, or the URI is none that KServe reads.
    """
    if not _NAME.fullmatch(model_name):
        raise UserError(
            f"model name {model_name!r} cannot name a service; "
            "use at most 40 lower-case letters, digits and hyphens, a letter first"
        )
    if not _STORAGE.fullmatch(storage_uri):
        raise UserError(
            f"KServe cannot fetch a model from {storage_uri!r}; "
            "give an s3, gs, hf, pvc, https, abfs or oci URI"
        )
    annotations = {
        "serving.kserve.io/deploymentMode": mode,
        VERSION_ANNOTATION: version,
    }
    if model_digest:
        annotations[DIGEST_ANNOTATION] = model_digest
    resources = {"cpu": cpu, "memory": memory}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": model_name,
            "labels": {
                "app.kubernetes.io/name": model_name,
                "app.kubernetes.io/part-of": "review-sentiment",
            },
            "annotations": annotations,
        },
        "spec": {
            "predictor": {
                "minReplicas": min_replicas,
                "maxReplicas": max_replicas,
                "automountServiceAccountToken": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "runAsGroup": 10001,
                    "fsGroup": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "model": {
                    "modelFormat": {"name": RUNTIME},
                    "runtime": RUNTIME,
                    "protocolVersion": "v2",
                    "storageUri": storage_uri,
                    "env": [{"name": "MODEL_VERSION", "value": version}],
                    "resources": {"requests": dict(resources), "limits": dict(resources)},
                },
            }
        },
    }


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
