"""The RayJob: a Ray cluster for one scoring, as KubeRay runs it.

KubeRay 1.7 submits the job itself, over HTTP. Its other ways do not suit a restricted namespace:
the container that it adds to the head's pod has no security context, and a pod for submitting alone
would be one more to place. What reaches the head's dashboard may run code there: therefore the
token, which KubeRay makes, and `manifests/base/network/batch.yaml`.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from components.shared.kubernetes.namespace_objects import (
    COMPONENT_LABEL,
    PART_OF,
    PART_OF_LABEL,
    RUN_AS_USER,
    STATE_CLAIM,
    STATE_PATH,
)
from components.shared.kubernetes.pod_settings import pod_fields
from components.shared.kubernetes.refusals import Resource
from components.shared.machine.images import predictor_image

RAY_JOBS = Resource("ray.io", "v1", "rayjobs", "RayJob", "KubeRay")

RAY_VERSION = "2.60.0"
"""The images' (`constraints.txt`), which KubeRay has to know."""

PODS = "app.kubernetes.io/instance={name}"
"""Label selector of a RayJob's pods: KubeRay's own label holds a name that it makes up."""

BATCH = "batch"
"""Value of `app.kubernetes.io/component` on them."""

CPUS, MEMORY = 4, "8Gi"
"""What each node scores with. The head only hands shards out."""

LONGEST_NAME = 47
"""Characters that KubeRay allows in the name of a RayJob."""

_HEAD_CPUS, _HEAD_MEMORY = 1, "4Gi"
_MODULE = "components.serving.batch.on_nodes.actors"
_RETRIES = 2
_TTL_SECONDS = 600
# Nothing goes through Ray's object store: the least that Ray takes.
_START = {"object-store-memory": "100000000"}


def ray_job(
    name: str,
    arguments: Mapping[str, Any],
    nodes: int,
    owner: Mapping[str, Any],
    *,
    deadline_seconds: int,
) -> dict[str, Any]:
    """A RayJob as it is sent to the cluster.

    Args:
        name: A DNS label of at most `LONGEST_NAME` characters.
        arguments: Those of `python -m components.serving.batch.on_nodes.actors`, by name, but for
            the number of actors and their cores. Paths are those in the pods.
        nodes: Pods that score, at least 1.
        owner: ownerReference to what the job goes with.
        deadline_seconds: After which KubeRay ends it.
    """
    given = {**arguments, "actors": nodes, "cpus": CPUS}
    words = ["python", "-m", _MODULE, *(f"--{key}={value}" for key, value in given.items())]
    head = _template(name, "ray-head", str(_HEAD_CPUS), _HEAD_MEMORY)
    worker = _template(name, "ray-worker", str(CPUS), MEMORY)
    cluster = {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            # No actor on the head.
            "rayStartParams": {**_START, "num-cpus": "0"},
            "template": head,
        },
        "workerGroupSpecs": [
            {
                "groupName": "scorers",
                **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), nodes),
                "rayStartParams": dict(_START),
                "template": worker,
            }
        ],
    }
    return {
        "apiVersion": f"{RAY_JOBS.group}/{RAY_JOBS.version}",
        "kind": RAY_JOBS.kind,
        "metadata": {
            "name": name,
            "labels": {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: BATCH},
            "ownerReferences": [dict(owner)],
        },
        "spec": {
            "entrypoint": shlex.join(words),
            "submissionMode": "HTTPMode",
            "shutdownAfterJobFinishes": True,
            # Time to read why it failed.
            "ttlSecondsAfterFinished": _TTL_SECONDS,
            "activeDeadlineSeconds": deadline_seconds,
            # Each with a new cluster, as where the head's node is gone; what is done stays done.
            "backoffLimit": _RETRIES,
            "rayClusterSpec": cluster,
        },
    }


def _template(name: str, container: str, cpus: str, memory: str) -> dict[str, Any]:
    """The template of the head's or of a worker's pod, restricted."""
    amounts = {"cpu": cpus, "memory": memory}
    mounts = {"state": STATE_PATH, "scratch": "/tmp", "shared-memory": "/dev/shm"}  # noqa: S108
    variables = {"HOME": "/tmp", "RAY_USAGE_STATS_ENABLED": "0", "TQDM_MININTERVAL": "30"}  # noqa: S108
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), RUN_AS_USER),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": container,
                "image": predictor_image(),
                "env": [{"name": key, "value": value} for key, value in variables.items()],
                "resources": {"requests": amounts, "limits": dict(amounts)},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [{"name": key, "mountPath": path} for key, path in mounts.items()],
            }
        ],
        "volumes": [
            {"name": "state", "persistentVolumeClaim": {"claimName": STATE_CLAIM}},
            {"name": "scratch", "emptyDir": {"sizeLimit": "10Gi"}},
            # Ray's object store; a container's own has 64 MiB.
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ],
        **pod_fields(gpu=False),
    }
    labels = {PART_OF_LABEL: PART_OF, COMPONENT_LABEL: BATCH, "app.kubernetes.io/instance": name}
    # Ray's nodes talk on ports of their own choice.
    labels["sidecar.istio.io/inject"] = "false"
    return {"metadata": {"labels": labels}, "spec": spec}


def last_words(message: str) -> str:
    """What a job that failed said of itself: its own sentence, or else the last line."""
    said = [line.strip() for line in message.splitlines() if line.strip()]
    own = [line for line in said if line.startswith("error: ")]
    return (own or said or ["no reason is given"])[-1]
