"""Network policies: which traffic they allow, and that their selectors match pods."""

import pytest

from components.shared.kubernetes.namespace_objects import COMPONENT_LABEL, PART_OF, PART_OF_LABEL
from tests.manifests.conftest import MANIFESTS, build, named, pods_of

OURS = {PART_OF_LABEL: PART_OF}
STEPS = {**OURS, COMPONENT_LABEL: "pipeline-step"}
PORTS = {"mlflow": 5000, "feature-store": 5432, "predictor": 8080}
ELSEWHERE = {
    # Katib, pkg/controller.v1beta1/consts/const.go and its deployments.
    "katib.kubeflow.org/deployment",
    "katib.kubeflow.org/component",
    # Kubeflow Pipelines, backend/src/v2/compiler/argocompiler/argo.go and its profile controller.
    "pipelines.kubeflow.org/v2_component",
    "app",
    # Feast's operator.
    "feast.dev/name",
}
"""Labels of pods that are not ours."""


def policies(objects):
    return [o for o in objects if o["kind"] == "NetworkPolicy"]


def selects(selector, labels):
    """Whether a label selector takes a pod with these labels."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for wanted in selector.get("matchExpressions") or []:
        found = labels.get(wanted["key"])
        if wanted["operator"] == "In" and found not in wanted["values"]:
            return False
        if wanted["operator"] == "Exists" and found is None:
            return False
        assert wanted["operator"] in ("In", "Exists")
    return True


def opened(objects, labels, direction):
    """The rules that hold for a pod."""
    return [
        rule
        for policy in policies(objects)
        if selects(policy["spec"]["podSelector"], labels)
        for rule in policy["spec"].get(direction) or []
    ]


def may_reach(objects, labels, peer, port):
    """Whether one pod of the namespace may talk to another, by both one's rules."""

    def lets(rules, side, other):
        return any(
            port in {p["port"] for p in rule.get("ports") or [{"port": port}]}
            and any(
                "podSelector" in who
                and "namespaceSelector" not in who
                and selects(who["podSelector"], other)
                for who in rule.get(side) or []
            )
            for rule in rules
        )

    return lets(opened(objects, labels, "egress"), "to", peer) and lets(
        opened(objects, peer, "ingress"), "from", labels
    )


def carried(objects):
    """Labels of the pods that the manifests make, and of those that the code makes."""
    for manifest in objects:
        for metadata, _ in pods_of(manifest):
            if manifest["kind"] == "ServingRuntime":
                metadata = {"labels": manifest["spec"]["labels"]}
            yield metadata["labels"]
    yield from ({**OURS, COMPONENT_LABEL: c} for c in ("pipeline-step", "trial"))


def test_each_pod_of_ours_is_closed_by_default(overlay):
    deny = named(overlay, "NetworkPolicy", "review-sentiment-default-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for labels in carried(overlay):
        assert labels[PART_OF_LABEL] == PART_OF
        assert COMPONENT_LABEL in labels
        assert selects(deny["podSelector"], labels)


def test_a_shared_namespace_keeps_its_other_pods_open():
    for name in ("small", "gpu"):
        for policy in policies(build(MANIFESTS / "overlays" / name)):
            assert policy["spec"]["podSelector"]["matchLabels"][PART_OF_LABEL] == PART_OF


def test_a_profile_is_closed_as_a_whole():
    objects = build(MANIFESTS / "overlays" / "profile")
    closed = [policy for policy in policies(objects) if policy["spec"]["podSelector"] == {}]
    assert {policy["metadata"]["name"] for policy in closed} == {
        "review-sentiment-default-deny",
        "review-sentiment-dns",
    }
    assert {"ResourceQuota", "LimitRange"} <= {o["kind"] for o in objects}
    driver = {"pipelines.kubeflow.org/v2_component": "true"}
    ports = {p["port"] for r in opened(objects, driver, "egress") for p in r["ports"]}
    assert {53, 443, 6443, 8080, 8887} <= ports


@pytest.mark.parametrize(
    ("pod", "peer", "allowed"),
    [
        ("pipeline-step", "mlflow", True),
        ("pipeline-step", "feature-store", True),
        ("pipeline-step", "predictor", True),
        ("mlflow", "feature-store", True),
        ("predictor", "feature-store", True),
        ("predictor", "mlflow", False),
        ("trial", "feature-store", False),
        ("training", "mlflow", False),
        ("mlflow", "predictor", False),
        ("state", "feature-store", False),
    ],
)
def test_allowed_connections(pod, peer, allowed, overlay):
    labels, other = ({**OURS, COMPONENT_LABEL: component} for component in (pod, peer))
    assert may_reach(overlay, labels, other, PORTS[peer]) is allowed
    assert not may_reach(overlay, {"app": "stranger"}, other, PORTS[peer])


def test_trainings_talk_among_themselves_on_any_port(overlay):
    nodes = [{**OURS, COMPONENT_LABEL: component} for component in ("training", "trial")]
    for labels in nodes:
        assert may_reach(overlay, labels, labels, 29500)
        assert not may_reach(overlay, STEPS, labels, 29500)
        assert not may_reach(overlay, labels, STEPS, 29500)


def test_ports_are_those_that_pods_listen_on(overlay):
    listening = {
        labels[COMPONENT_LABEL]: {p["containerPort"] for p in pod["containers"][0]["ports"]}
        for manifest in overlay
        for labels, pod in [
            (
                manifest["spec"]["labels"]
                if manifest["kind"] == "ServingRuntime"
                else metadata.get("labels"),
                pod,
            )
            for metadata, pod in pods_of(manifest)
        ]
        if pod["containers"][0].get("ports")
    }
    assert listening == {component: {port} for component, port in PORTS.items()}


def test_selectors_use_labels_of_existing_pods(objects):
    known = {key for labels in carried(objects) for key in labels} | ELSEWHERE
    known |= {PART_OF_LABEL, COMPONENT_LABEL, "kubernetes.io/metadata.name"}
    selectors = []
    for manifest in objects:
        if manifest["kind"] == "NetworkPolicy":
            selectors.append(manifest["spec"]["podSelector"])
            for rules in (manifest["spec"].get("ingress"), manifest["spec"].get("egress")):
                for rule in rules or []:
                    for who in [*rule.get("from", []), *rule.get("to", [])]:
                        selectors += [who[k] for k in who if k.endswith("Selector")]
        if manifest["kind"] in ("PodDisruptionBudget", "PodMonitor"):
            selectors.append(manifest["spec"]["selector"])
    for selector in selectors:
        keys = {wanted["key"] for wanted in selector.get("matchExpressions") or []}
        assert keys | set(selector.get("matchLabels") or {}) <= known


def test_services_and_budgets_select_one_kind_of_pod(overlay):
    pods = list(carried(overlay))
    for manifest in overlay:
        spec = manifest.get("spec") or {}
        if manifest["kind"] == "Service":
            selector = {"matchLabels": spec["selector"]}
        elif manifest["kind"] == "PodDisruptionBudget":
            selector = spec["selector"]
        else:
            continue
        assert sum(selects(selector, labels) for labels in pods) == 1
