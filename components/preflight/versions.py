"""The parts of Kubeflow that run in the cluster: their versions, and whether they are up."""

import re
from dataclasses import dataclass
from typing import Any

from components.preflight.api import Api
from components.preflight.finding import Finding, failed, not_checked, ok, warning


@dataclass(frozen=True)
class Part:
    """A controller that something of ours needs.

    Attributes:
        name: As its users call it.
        deployment: Name of its Deployment.
        oldest: Version that the pipelines were written for.
    """

    name: str
    deployment: str
    oldest: tuple[int, int]


PARTS = (
    Part("Pipelines", "ml-pipeline", (2, 17)),
    Part("Katib", "katib-controller", (0, 19)),
    Part("Trainer", "kubeflow-trainer-controller-manager", (2, 3)),
    Part("KServe", "kserve-controller-manager", (0, 20)),
)

NAMESPACES = ("kubeflow", "kubeflow-system", "kserve")
"""Where their installations put them."""

_TAG = re.compile(r":v?(\d+)\.(\d+)[^@/]*$")


def check_versions(api: Api, kfp_namespace: str) -> list[Finding]:
    """What the tags of the controllers' images say, and how many of their pods are ready.

    Args:
        api: The cluster.
        kfp_namespace: Where Kubeflow Pipelines is installed.
    """
    found: dict[str, dict[str, Any]] = {}
    closed: list[str] = []
    for namespace in dict.fromkeys((kfp_namespace, *NAMESPACES)):
        answer = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")
        if not answer.good:
            closed.append(namespace)
        for deployment in answer.items:
            found.setdefault(deployment["metadata"]["name"], deployment)
    findings = [_check(part, found[part.deployment]) for part in PARTS if part.deployment in found]
    unseen = [part for part in PARTS if part.deployment not in found]
    if unseen:
        parts = ", ".join(part.name for part in unseen)
        where = f"you may not list Deployments in {', '.join(closed)}"
        if not closed:
            wanted = ", ".join(part.deployment for part in unseen)
            where = f"none of the Deployments {wanted} is in {', '.join(NAMESPACES)}"
        findings.append(not_checked("versions", f"{parts}: {where}"))
    return findings


def _check(part: Part, deployment: dict[str, Any]) -> Finding:
    name = f"{part.name} version"
    namespace = deployment["metadata"]["namespace"]
    where = f"{deployment['metadata']['name']} in namespace {namespace}"
    if not (deployment.get("status") or {}).get("availableReplicas"):
        return failed(
            name,
            f"{where} has no ready pod",
            f"kubectl -n {namespace} describe deployment {deployment['metadata']['name']}",
        )
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    tag = _TAG.search(image.partition("@")[0])
    oldest = ".".join(map(str, part.oldest))
    if not tag:
        return not_checked(name, f"{image} tells no version; {oldest} or later is needed")
    version = tag[0].lstrip(":v")
    if (int(tag[1]), int(tag[2])) < part.oldest:
        return warning(name, f"{version} ({where}); written for {oldest} or later")
    return ok(name, f"{version}, {where}")
