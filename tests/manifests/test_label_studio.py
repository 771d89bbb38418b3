"""Label Studio on a cluster: who reaches it, on which port a header counts, and what it is told."""

import re
from pathlib import Path

import pytest

from components.review.label_studio import process
from components.shared.kubernetes import namespace_objects as ours
from pipelines.running.step_settings import REVIEW_KEYS
from tests.manifests.conftest import build, labelled_pods_of, named, pods_of, write_kustomization
from tests.manifests.test_network_policies import OURS, STEPS, may_reach, opened
from tests.manifests.test_pod_security import faults_of

NAME = "review-sentiment-label-studio"
GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
SELF = {**OURS, ours.COMPONENT_LABEL: "label-studio"}
POSTGRES = {**OURS, ours.COMPONENT_LABEL: "feature-store"}


@pytest.fixture(scope="module", params=["small", "profile"])
def by_password(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    return build(write_kustomization(folder, request.param, ["label-studio"], namespace="here"))


@pytest.fixture(scope="module")
def by_platform(tmp_path_factory):
    components = ["label-studio", "label-studio-sign-in"]
    folder = tmp_path_factory.mktemp("sign-in")
    return build(write_kustomization(folder, "profile", components, namespace="here"))


def container_of(objects):
    ((_, pod),) = pods_of(named(objects, "Deployment", NAME))
    return pod["containers"][0]


def told(objects):
    return {one["name"]: one.get("value") for one in container_of(objects)["env"]}


def test_its_pod_keeps_to_restricted_and_needs_no_token_of_the_cluster(by_password, by_platform):
    for objects in (by_password, by_platform):
        ((_, pod),) = pods_of(named(objects, "Deployment", NAME))
        assert faults_of(pod) == []
        assert pod["automountServiceAccountToken"] is False
        assert container_of(objects)["securityContext"]["readOnlyRootFilesystem"] is True
        written = [m["mountPath"] for m in container_of(objects)["volumeMounts"]]
        assert told(objects)["LABEL_STUDIO_BASE_DATA_DIR"].startswith(written[0])


def test_it_is_told_what_its_process_asks_for(by_platform):
    files = Path(process.__file__).with_name("server").glob("*.py")
    asked = {name for file in files for name in re.findall(r'"(REVIEW_\w+)"', file.read_text())}
    assert asked - {"REVIEW_ENDS_WITH_PARENT"} == {
        name for name in told(by_platform) if name.startswith("REVIEW_")
    }
    assert told(by_platform)["REVIEW_ADMINISTRATOR"] == process.ADMINISTRATOR


def test_without_the_platform_no_header_signs_in(by_password):
    assert "REVIEW_SIGN_IN_HEADER" not in told(by_password)
    assert not [o for o in by_password if "istio.io" in o["apiVersion"]]
    for rule in opened(by_password, SELF, "ingress"):
        assert {port["port"] for port in rule["ports"]} == {8081}


def test_only_the_gateway_reaches_the_port_where_a_header_counts(by_platform):
    port = told(by_platform)["REVIEW_SIGN_IN_PORT"]
    assert f"0.0.0.0:{port}" in told(by_platform)["REVIEW_BIND"]
    spec = named(by_platform, "AuthorizationPolicy", NAME)["spec"]
    assert spec["action"] == "DENY"
    (rule,) = spec["rules"]
    assert rule["from"] == [{"source": {"notPrincipals": [GATEWAY]}}]
    assert rule["to"] == [{"operation": {"ports": [port]}}]
    allowed = named(by_platform, "AuthorizationPolicy", f"{NAME}-gateway")["spec"]["rules"]
    assert allowed == [
        {"from": [{"source": {"principals": [GATEWAY]}}], "to": [{"operation": {"ports": [port]}}]}
    ]
    assert named(by_platform, "PeerAuthentication")["spec"]["mtls"] == {"mode": "STRICT"}
    for one in [o for o in by_platform if o["apiVersion"].startswith("security.istio.io")]:
        assert one["spec"]["selector"]["matchLabels"] == SELF
    rules = [r for r in opened(by_platform, SELF, "ingress") if r["ports"][0]["port"] == int(port)]
    (peers,) = (rule["from"] for rule in rules)
    assert peers == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "istio-system"}}}
    ]
    metadata = named(by_platform, "Deployment", NAME)["spec"]["template"]["metadata"]
    assert metadata["labels"]["sidecar.istio.io/inject"] == "true"
    excluded = metadata["annotations"]["traffic.sidecar.istio.io/excludeInboundPorts"]
    assert excluded == "8081" != port


def test_the_path_of_the_gateway_is_the_one_that_label_studio_writes(by_platform):
    spec = named(by_platform, "VirtualService", NAME)["spec"]
    reviews = spec["http"][0]
    prefix = reviews["match"][0]["uri"]["prefix"]
    assert told(by_platform)["LABEL_STUDIO_HOST"].endswith(prefix.rstrip("/"))
    assert reviews["rewrite"] == {"uri": "/"}
    destination = reviews["route"][0]["destination"]
    ports = {p["port"] for p in named(by_platform, "Service", NAME)["spec"]["ports"]}
    assert destination["host"] == NAME
    assert destination["port"]["number"] in ports


def test_the_steps_reach_it_and_it_reaches_its_database_and_nothing_else(by_password, by_platform):
    for objects in (by_password, by_platform):
        assert may_reach(objects, STEPS, SELF, 8081)
        assert not may_reach(objects, STEPS, SELF, 8080)
        assert may_reach(objects, SELF, POSTGRES, 5432)
        for component, port in (("mlflow", 5000), ("predictor", 8080), ("pipeline-step", 80)):
            other = {**OURS, ours.COMPONENT_LABEL: component}
            assert not may_reach(objects, SELF, other, port)
            assert component == "pipeline-step" or not may_reach(objects, other, SELF, 8081)
        assert not may_reach(objects, {"app": "stranger"}, SELF, 8081)


def test_service_and_policies_select_its_pods(by_platform):
    labels = [labels for o in by_platform for labels, _ in labelled_pods_of(o)]
    assert sum(SELF.items() <= one.items() for one in labels) == 1
    assert named(by_platform, "Service", NAME)["spec"]["selector"] == SELF
    ports = {p["name"]: p["containerPort"] for p in container_of(by_platform)["ports"]}
    for one in named(by_platform, "Service", NAME)["spec"]["ports"]:
        assert one["port"] == ports[one["targetPort"]]


def test_the_steps_that_ask_have_address_and_token():
    from google.protobuf.json_format import MessageToDict

    from pipelines.review import review_pipeline

    spec = MessageToDict(review_pipeline.trace().platform_spec)
    pods = spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    given = {
        name: {key["envVar"] for key in secret["keyToEnv"]}
        for name, pod in pods.items()
        for secret in pod["secretAsEnv"]
        if secret["secretName"] == ours.REVIEW_SECRET
    }
    assert given == {"exec-gather-review-votes": set(REVIEW_KEYS)}
