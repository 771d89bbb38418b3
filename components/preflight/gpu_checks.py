"""Whether the GPUs that the training asks for are there, free, and on nodes that it may use."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from components.preflight.api import Api, unread
from components.preflight.finding import Finding, failed, passed, skipped, warning
from components.preflight.outside import Check, Expected
from components.shared.kubernetes.pod_settings import gpu_resource, pod_fields

_NAME = "GPUs"
_OPERATOR = (
    "helm install gpu-operator nvidia/gpu-operator -n gpu-operator --create-namespace\n"
    "export TRAINING_GPUS=0   # to train on CPUs"
)


class _Node(NamedTuple):
    name: str
    gpus: int
    hindrance: str
    remedy: str


def check_gpus(api: Api, expected: Expected, found: dict[str, Any]) -> list[Finding]:
    """Compare what nodes offer, less what pods hold, with what the training asks for."""
    wanted = expected.gpus
    if not wanted:
        return [skipped(_NAME, "the training asks for none (TRAINING_GPUS=0)")]
    answer = api.get("/api/v1/nodes")
    if not answer.good:
        return [unread(_NAME, "nodes", answer)]
    nodes = [node for item in answer.items if (node := _node(item)).gpus]
    if not nodes:
        text = f"no node offers {gpu_resource()}, the training asks for {wanted}"
        unseen = "a node that is only started when it is asked for cannot be seen here"
        return [failed(_NAME, f"{text}; {unseen}", _OPERATOR)]
    left_out, usable = [n for n in nodes if n.hindrance], [n for n in nodes if not n.hindrance]
    why = "node {0.name} is left out: {0.hindrance}"
    findings = [warning(_NAME, why.format(node), node.remedy) for node in left_out]
    offered = sum(node.gpus for node in usable)
    text = f"{offered} on {len(usable)} node{'s' * (len(usable) != 1)} that training can use"
    if offered < wanted:
        fewer = f"export TRAINING_GPUS={offered} TRAINING_NODES=1   # or fewer, or add nodes"
        remedy = fewer if usable else nodes[0].remedy
        return [*findings, failed(_NAME, f"{text}; it asks for {wanted}", remedy)]
    return [*findings, _free(api, usable, wanted, text)]


def _node(item: dict[str, Any]) -> _Node:
    """A node with its GPUs, and the first thing that keeps our pods from it."""
    gpus = ((item.get("status") or {}).get("allocatable") or {}).get(gpu_resource(), 0)
    return _Node(item["metadata"]["name"], int(gpus), *next(_hindrances(item), ("", "")))


def _hindrances(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    name, status = item["metadata"]["name"], item.get("status") or {}
    spec, fields = item.get("spec") or {}, pod_fields(gpu=True)
    labels = item["metadata"].get("labels") or {}
    for key, value in fields.get("nodeSelector", {}).items():
        if labels.get(key) != value:
            yield f"it lacks the label {key}={value}", f"kubectl label node {name} {key}={value}"
    if spec.get("unschedulable"):
        yield "it is cordoned", f"kubectl uncordon {name}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] != "True":
            yield "it is not ready", f"kubectl describe node {name}"
    for taint in spec.get("taints") or []:
        tolerated = any(_tolerates(one, taint) for one in fields.get("tolerations", []))
        if not tolerated and taint["effect"] != "PreferNoSchedule":
            full = f"{taint['key']}{'=' + taint['value'] if taint.get('value') else ''}"
            remedy = f"kubectl taint node {name} {taint['key']}:{taint['effect']}-"
            other = "   # or tolerate it in manifests/cluster/pods.yaml"
            yield f"its taint {full}:{taint['effect']} is not tolerated", remedy + other


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    """As Kubernetes matches them: an empty key or effect matches all."""
    any_value = toleration.get("operator") == "Exists"
    return (
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (any_value or (toleration.get("value") or "") == (taint.get("value") or ""))
    )


def _free(api: Api, usable: list[_Node], wanted: int, text: str) -> Finding:
    """How many of the GPUs no pod holds now."""
    answer = api.get("/api/v1/pods", fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
    if not answer.good:
        unknown = "you may not list all pods, so how many are free is not known"
        return passed(_NAME, f"{text}; {unknown}")
    in_use: Counter[str] = Counter()
    for spec in (pod["spec"] for pod in answer.items):
        first = [*map(_asked, spec.get("initContainers") or []), 0]
        in_use[spec.get("nodeName", "")] += max(sum(map(_asked, spec["containers"])), *first)
    free = sum(max(0, node.gpus - in_use[node.name]) for node in usable)
    if free < wanted:
        busy = f"{text}, {free} free; training that asks for {wanted} waits for the others"
        return warning(_NAME, busy, "kubectl get pods -A -o wide | grep Running")
    return passed(_NAME, f"{text}, {free} free")


def _asked(container: dict[str, Any]) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return int(limits.get(gpu_resource(), 0))


GPUS = Check(_NAME, "", "", check_gpus)
"""The row of the group GPUs."""
