import re

import pytest

from components.deployment.kserve.inference_service import RUNTIME
from components.shared.records import serving_metrics
from components.shared.records.serving_metrics import SECONDS_BUCKETS
from tests.manifests.conftest import MANIFESTS, build, named, pods_of

OWN = {value for value in vars(serving_metrics).values() if isinstance(value, str)}
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
