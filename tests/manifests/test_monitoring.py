import json
import re

import pytest
from prometheus_client import CollectorRegistry

from components.deployment.kserve.inference_service import RUNTIME
from components.monitoring.metrics import registry_of
from components.serving.observing.metrics import ServingMetrics
from components.shared.records import monitoring_metrics, serving_metrics
from components.shared.records.serving_metrics import SECONDS_BUCKETS
from tests.manifests.conftest import MANIFESTS, build, named, pods_of
from tests.monitoring.made_up_summary import summary

NAMES = {name: value for name, value in vars(serving_metrics).items() if name.isupper()}
NAMES |= {name: value for name, value in vars(monitoring_metrics).items() if name.isupper()}
OWN = {value for value in NAMES.values() if isinstance(value, str)}
# Of kube-state-metrics and of the kubelet.
OTHERS = {"kube_deployment_status_replicas_available", "kube_deployment_spec_replicas"}
OTHERS |= {f"kubelet_volume_stats_{which}_bytes" for which in ("available", "capacity")}
OTHERS |= {"kube_statefulset_status_replicas_ready"}


def rules():
    for manifest in build(MANIFESTS / "monitoring"):
        if manifest["kind"] == "PrometheusRule":
            yield from (r for group in manifest["spec"]["groups"] for r in group["rules"])


@pytest.fixture(params=list(rules()) if MANIFESTS.is_dir() else [], ids=lambda r: r["alert"])
def rule(request):
    return request.param


def test_metrics_exist(rule):
    metrics = set(re.findall(r"\b(?:review_sentiment|kube|kubelet)_\w+", rule["expr"]))
    assert metrics
    assert metrics <= OTHERS | {f"{name}{end}" for name in OWN for end in ("", "_bucket", "_count")}


def test_brackets_close_and_every_alert_says_what_to_do(rule):
    for opening, closing in ("()", "{}", "[]"):
        assert rule["expr"].count(opening) == rule["expr"].count(closing)
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    # Only labels that the expression keeps.
    for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
        kept = re.findall(r"by \(([^)]*)\)", rule["expr"])
        assert not kept or any(label in names for names in kept)


def test_alerts_cover_errors_latency_queue_and_lost_payloads():
    expressions = " ".join(rule["expr"] for rule in rules())
    for metric in ("REQUESTS", "REQUEST_SECONDS", "QUEUED_REVIEWS", "PAYLOADS_DROPPED"):
        assert getattr(serving_metrics, metric) in expressions
    assert 'code="503"' in expressions
    (slow,) = [r for r in rules() if r["alert"] == "ReviewSentimentSlow"]
    assert float(re.search(r"\) > (\S+)", slow["expr"]).group(1)) in SECONDS_BUCKETS


def test_the_monitor_finds_the_port_of_the_metrics():
    monitor = named(build(MANIFESTS / "monitoring"), "PodMonitor")
    runtime = named(build(MANIFESTS / "overlays" / "small"), "ServingRuntime", RUNTIME)
    ((_, pod),) = pods_of(runtime)
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    assert ports < {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= runtime["spec"]["labels"].items()


@pytest.fixture
def dashboard():
    (found,) = [o for o in build(MANIFESTS / "monitoring") if o["kind"] == "ConfigMap"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    return json.loads(found["data"]["dashboard.json"])


def queries(dashboard):
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    return [(panel, target) for panel in panels for target in panel["targets"]]


def test_the_dashboard_asks_for_metrics_and_labels_that_the_server_shows(dashboard):
    registry = CollectorRegistry()
    shown = ServingMetrics("m", "1", registry)
    shown.answered("v1", 200, 0.1)
    found = [*registry.collect(), *registry_of(summary()).collect()]
    samples = [sample for metric in found for sample in metric.samples]
    names = {sample.name for sample in samples}
    # And what the scrape adds.
    labels = {name for sample in samples for name in sample.labels} | {"namespace"}
    asked = [target["expr"] for _, target in queries(dashboard)]
    asked += [one["definition"] for one in dashboard["templating"]["list"][1:]]
    for expression in asked:
        metrics = set(re.findall(r"\breview_sentiment_\w+", expression))
        assert metrics
        assert metrics <= names
        grouped = re.findall(r"(?:by|ignoring|on) \(([^)]*)\)", expression)
        used = {name for found in grouped for name in re.findall(r"\w+", found)}
        used |= set(re.findall(r"(\w+)!?=~?\"", expression))
        assert used <= labels, expression
    # Everything that the server counts is on it.
    everything = " ".join(asked)
    assert {own for own in OWN if own not in everything} == set()


def test_the_dashboard_is_one_that_grafana_takes(dashboard):
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["uid"] == "review-sentiment"
    variables = {one["name"] for one in dashboard["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"]))) <= variables
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    for panel, target in queries(dashboard):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"] == target["datasource"]
        for opening, closing in ("()", "{}", "[]"):
            assert target["expr"].count(opening) == target["expr"].count(closing)
        by = re.findall(r"by \(([^)]*)\)", target["expr"])[0]
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= set(by.split(", "))
