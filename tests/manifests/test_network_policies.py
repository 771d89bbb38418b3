import pytest

from components.shared.kubernetes.namespace_objects import COMPONENT_LABEL, PART_OF, PART_OF_LABEL
from tests.manifests.conftest import MANIFESTS, build, labelled_pods_of, named

OURS = {PART_OF_LABEL: PART_OF}
STEPS = {**OURS, COMPONENT_LABEL: "pipeline-step"}
PORTS = {"mlflow": 5000, "feature-store": 5432, "predictor": 8080}
# Labels of pods that are not ours: of Katib, Kubeflow Pipelines and Feast's operator.
ELSEWHERE = {"katib.kubeflow.org/deployment", "katib.kubeflow.org/component", "app"}
ELSEWHERE |= {"pipelines.kubeflow.org/v2_component", "feast.dev/name"}


def policies(objects):
    return [o for o in objects if o["kind"] == "NetworkPolicy"]


def selects(selector, labels):
    wanted = selector.get("matchExpressions") or []
    assert {one["operator"] for one in wanted} <= {"In", "Exists"}
    return (selector.get("matchLabels") or {}).items() <= labels.items() and all(
        one["key"] in labels and labels[one["key"]] in one.get("values", labels.values())
        for one in wanted
    )


def opened(objects, labels, direction):
    specs = [policy["spec"] for policy in policies(objects)]
    chosen = [spec for spec in specs if selects(spec["podSelector"], labels)]
    return [rule for spec in chosen for rule in spec.get(direction) or []]


def may_reach(objects, labels, peer, port):
    def lets(direction, side, here, there):
        return any(
            who.keys() == {"podSelector"} and selects(who["podSelector"], there)
            for rule in opened(objects, here, direction)
            if port in {p["port"] for p in rule.get("ports") or [{"port": port}]}
            for who in rule.get(side) or []
        )

    return lets("egress", "to", labels, peer) and lets("ingress", "from", peer, labels)


def carried(objects):
    """Labels of the pods that the manifests make, and of those that the code makes."""
    for manifest in objects:
        yield from (labels for labels, _ in labelled_pods_of(manifest))
    yield from ({**OURS, COMPONENT_LABEL: c} for c in ("pipeline-step", "trial"))


def test_each_pod_of_ours_is_closed_by_default(overlay):
    deny = named(overlay, "NetworkPolicy", "review-sentiment-default-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & set(deny)
    for labels in carried(overlay):
        assert labels[PART_OF_LABEL] == PART_OF
        assert COMPONENT_LABEL in labels
        assert selects(deny["podSelector"], labels)


def test_a_profile_is_closed_as_a_whole_and_another_namespace_keeps_its_other_pods_open():
    for name in ("small", "gpu"):
        for policy in policies(build(MANIFESTS / "overlays" / name)):
            assert policy["spec"]["podSelector"]["matchLabels"][PART_OF_LABEL] == PART_OF
    objects = build(MANIFESTS / "overlays" / "profile")
    closed = [policy for policy in policies(objects) if policy["spec"]["podSelector"] == {}]
    names = {policy["metadata"]["name"].removeprefix("review-sentiment-") for policy in closed}
    assert names == {"default-deny", "dns"}
    assert {"ResourceQuota", "LimitRange"} <= {o["kind"] for o in objects}
    driver = {"pipelines.kubeflow.org/v2_component": "true"}
    ports = {p["port"] for r in opened(objects, driver, "egress") for p in r["ports"]}
    assert {53, 443, 6443, 8080, 8887} <= ports


ALLOWED = {"pipeline-step": set(PORTS), "mlflow": {"feature-store"}, "predictor": {"feature-store"}}


@pytest.mark.parametrize("peer", PORTS)
@pytest.mark.parametrize("pod", [*PORTS, "pipeline-step", "trial", "training", "state"])
def test_allowed_connections(pod, peer, overlay):
    labels, other = ({**OURS, COMPONENT_LABEL: component} for component in (pod, peer))
    assert may_reach(overlay, labels, other, PORTS[peer]) is (peer in ALLOWED.get(pod, ()))
    assert not may_reach(overlay, {"app": "stranger"}, other, PORTS[peer])


def test_trainings_talk_among_themselves_on_any_port(overlay):
    nodes = [{**OURS, COMPONENT_LABEL: component} for component in ("training", "trial")]
    for labels in nodes:
        assert may_reach(overlay, labels, labels, 29500)
        assert not may_reach(overlay, STEPS, labels, 29500)
        assert not may_reach(overlay, labels, STEPS, 29500)


def test_ports_are_those_that_pods_listen_on(overlay):
    listening = {
        labels[COMPONENT_LABEL]: {port["containerPort"] for port in ports}
        for manifest in overlay
        for labels, pod in labelled_pods_of(manifest)
        if (ports := pod["containers"][0].get("ports"))
    }
    assert listening == {component: {port} for component, port in PORTS.items()}


def selectors_in(here):
    if isinstance(here, dict) and {"matchLabels", "matchExpressions"} & set(here):
        yield here
    elif isinstance(here, dict | list):
        for below in here.values() if isinstance(here, dict) else here:
            yield from selectors_in(below)


def test_selectors_use_labels_of_existing_pods(objects):
    known = {key for labels in carried(objects) for key in labels} | ELSEWHERE
    known |= {PART_OF_LABEL, COMPONENT_LABEL, "kubernetes.io/metadata.name"}
    kinds = ("NetworkPolicy", "PodDisruptionBudget", "PodMonitor")
    for selector in selectors_in([o for o in objects if o["kind"] in kinds]):
        keys = {wanted["key"] for wanted in selector.get("matchExpressions") or []}
        assert keys | set(selector.get("matchLabels") or {}) <= known


def test_services_and_budgets_select_one_kind_of_pod(overlay):
    pods = list(carried(overlay))
    for manifest in overlay:
        if manifest["kind"] in ("Service", "PodDisruptionBudget"):
            selector = manifest["spec"]["selector"]
            if manifest["kind"] == "Service":
                selector = {"matchLabels": selector}
            assert sum(selects(selector, labels) for labels in pods) == 1
