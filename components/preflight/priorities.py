"""Whether the priority classes exist that pods of ours name: without its class a pod is refused.

They belong to the cluster, not to the namespace, so that who applies an overlay may lack the right.
"""

from collections.abc import Iterator
from typing import Any

from components.preflight.api import Api, presence
from components.preflight.expected import APPLY
from components.preflight.finding import Finding
from components.shared.kubernetes.namespace_objects import PART_OF, PART_OF_LABEL

_NAME = "PriorityClass"
_WITH_PODS = (
    ("apps/v1", "deployments"),
    ("apps/v1", "statefulsets"),
    ("trainer.kubeflow.org/v1alpha1", "trainingruntimes"),
)


def check_priorities(api: Api) -> list[Finding]:
    """Look for each class that our servers and the TrainingRuntime name."""
    selector = f"{PART_OF_LABEL}={PART_OF}"
    named = {
        name
        for group_version, plural in _WITH_PODS
        for found in api.get(
            api.of_namespace(plural, group_version=group_version), labelSelector=selector
        ).items
        for name in priorities_in(found)
    }
    findings = []
    for name in sorted(named):
        answer = api.get(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")
        findings.append(presence(_NAME, name, answer, APPLY))
    return findings


def priorities_in(found: Any) -> Iterator[str]:
    """Every priority class that an object names, however deep.

    Args:
        found: An object, or a part of one.
    """
    if isinstance(found, dict):
        if found.get("priorityClassName"):
            yield found["priorityClassName"]
        for part in found.values():
            yield from priorities_in(part)
    elif isinstance(found, list):
        for part in found:
            yield from priorities_in(part)
