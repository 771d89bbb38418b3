"""A pod that looks at the cluster from inside, as the pods of the pipelines do."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.preflight import inside
from components.shared.kubernetes import namespace_objects as names

_PROGRAM = Path(inside.__file__).read_text(encoding="utf-8")


@dataclass(frozen=True)
class Probe:
    """What one pod looks at.

    Attributes:
        name: In a word, which also ends the pod's name.
        image: That is pulled and started.
        service_account: That it runs as.
        checks: Names of `inside.CHECKS`.
        environment: Name and value.
        token: Whether the service account's token is mounted, as in a step.
        with_state: Whether it gets configuration, Secrets and the shared volume of a step.
        gpus: That it asks for.
    """

    name: str
    image: str
    service_account: str
    checks: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    token: bool = False
    with_state: bool = False
    gpus: int = 0


def pod_manifest(
    probe: Probe,
    name: str,
    *,
    config_keys: tuple[str, ...],
    secrets: Mapping[str, tuple[str, ...]],
    deadline_seconds: int,
) -> dict[str, Any]:
    """The pod of a probe, within Pod Security `restricted`.

    Args:
        probe: What it looks at.
        name: Of the pod.
        config_keys: Keys of the ConfigMap, each an environment variable as in a step.
        secrets: Keys by the name of the Secret, likewise.
        deadline_seconds: After which the cluster ends it, whoever started it.

    Returns:
        The manifest.
    """
    environment: list[dict[str, Any]] = [
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - of the pod
        *({"name": key, "value": value} for key, value in (probe.environment or {}).items()),
    ]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    if probe.with_state:
        environment += [_from("configMapKeyRef", names.CONFIG_MAP, key) for key in config_keys]
        environment += [
            _from("secretKeyRef", secret, key) for secret, keys in secrets.items() for key in keys
        ]
        claim = {"claimName": names.STATE_CLAIM}
        volumes.append({"name": "state", "persistentVolumeClaim": claim})
        mounts.append({"name": "state", "mountPath": names.STATE_PATH})
    resources = {"cpu": "200m", "memory": "256Mi"}
    if probe.gpus:
        resources = {"cpu": "1", "memory": "4Gi", names.GPU: str(probe.gpus)}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": deadline_seconds,
        "terminationGracePeriodSeconds": 1,
        "serviceAccountName": probe.service_account,
        "automountServiceAccountToken": probe.token,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.RUN_AS_USER,
            "runAsGroup": names.RUN_AS_USER,
            # No fsGroup: Kubeflow Pipelines gives a step none, so that this shows whether the
            # group of the volume is ours.
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "probe",
                "image": probe.image,
                "command": ["python", "-c", _PROGRAM, *probe.checks],
                "env": environment,
                "resources": {"requests": resources, "limits": resources},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    if probe.gpus:
        label, value = names.GPU_NODE_LABEL
        spec["nodeSelector"] = {label: value}
        spec["tolerations"] = [{"key": names.GPU, "operator": "Exists", "effect": "NoSchedule"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {
                names.PART_OF_LABEL: names.PART_OF,
                # Network policies let it reach what a step reaches.
                names.COMPONENT_LABEL: "preflight",
                # A sidecar would keep the pod from ending.
                "sidecar.istio.io/inject": "false",
            },
        },
        "spec": spec,
    }


def _from(kind: str, name: str, key: str) -> dict[str, Any]:
    return {"name": key, "valueFrom": {kind: {"name": name, "key": key}}}
