"""The servers that an overlay starts in the namespace, and the Secrets that they wait for."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from components.preflight.api import ONLY_METADATA, Api, missing, unread
from components.preflight.finding import Finding, failed, ok, warning
from components.shared.kubernetes.namespace_objects import PART_OF, PART_OF_LABEL

_VALUES = "values: manifests/README.md"
_KINDS = {"deployments": "Deployment", "statefulsets": "StatefulSet"}


def check_workloads(api: Api, secrets: Mapping[str, tuple[str, ...]]) -> list[Finding]:
    """Whether our servers have ready pods, and the Secrets that they and the steps need.

    The Secrets' values are not read.

    Args:
        api: The cluster.
        secrets: Keys by the name of the Secret, of those that the steps need.
    """
    unseen: list[Finding] = []
    servers: list[Finding] = []
    needed = {name: set(keys) for name, keys in secrets.items()}
    for plural, kind in _KINDS.items():
        answer = api.get(
            api.of_namespace(plural, group_version="apps/v1"),
            labelSelector=f"{PART_OF_LABEL}={PART_OF}",
        )
        if not answer.good:
            unseen.append(unread("server", f"{kind}s", answer))
        for found in answer.items:
            servers.append(_ready(api.namespace, kind, found))
            for name, keys in secrets_of(found["spec"]["template"]["spec"]).items():
                needed.setdefault(name, set()).update(keys)
    found_secrets = [_secret(api, name, keys) for name, keys in sorted(needed.items())]
    # A server waits for its Secrets, so that they come first.
    return [*found_secrets, *servers, *unseen]


def secrets_of(pod: Mapping[str, Any]) -> dict[str, set[str]]:
    """The keys that a pod cannot start without, by the name of their Secret.

    Args:
        pod: `spec` of a pod.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        references = [
            *((one.get("valueFrom") or {}).get("secretKeyRef") for one in container.get("env", [])),
            *(one.get("secretRef") for one in container.get("envFrom", [])),
        ]
        for reference in references:
            if reference and not reference.get("optional"):
                found[reference["name"]] |= {reference["key"]} if "key" in reference else set()
    for volume in pod.get("volumes") or []:
        mounted = volume.get("secret")
        if mounted and not mounted.get("optional"):
            found[mounted["secretName"]] |= {item["key"] for item in mounted.get("items") or []}
    return dict(found)


def _ready(namespace: str, kind: str, found: Mapping[str, Any]) -> Finding:
    """How many of a server's pods are ready."""
    name = found["metadata"]["name"]
    wanted = found["spec"].get("replicas", 1)
    ready = (found.get("status") or {}).get("readyReplicas", 0)
    told = f"{kind} {name}, {ready} of {wanted} pod{'s' * (wanted != 1)} ready"
    describe = f"kubectl -n {namespace} describe {kind.lower()} {name}"
    if ready < wanted:
        return (warning if ready else failed)("server", told, describe)
    return ok("server", told)


def _secret(api: Api, name: str, keys: set[str]) -> Finding:
    answer = api.get(api.of_namespace("secrets", name), accept=ONLY_METADATA)
    if answer.good:
        return ok("Secret", f"{name}, values not read")
    if answer.status != 404:
        return unread("Secret", f"Secret {name}", answer)
    values = " ".join(f"--from-literal={key}=…" for key in sorted(keys))
    make = f"kubectl -n {api.namespace} create secret generic {name}"
    return missing("Secret", f"Secret {name}", f"{make} {values}".rstrip() + f"   # {_VALUES}")
