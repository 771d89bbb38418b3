import json

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from components.deployment.judging import observations
from components.deployment.judging.observations import (
    NotObserved,
    Observations,
    PrometheusServer,
    ServerMetrics,
)
from components.shared.records.serving_metrics import (
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    SECONDS_BUCKETS,
)
from tests.stand_ins.api_server import Time

WHICH = ("model_name", "model_version")


def metrics(seconds=(), labels=(), failed=(), version="7"):
    """The page of a model server, by the library that the real one uses."""
    registry, which = CollectorRegistry(), ("reviews", version)
    names = (*WHICH, "protocol", "code")
    requests = Counter(REQUESTS.removesuffix("_total"), "-", names, registry=registry)
    taken = Histogram(REQUEST_SECONDS, "-", WHICH, registry=registry, buckets=SECONDS_BUCKETS)
    names = (*WHICH, "label")
    classes = Counter(PREDICTIONS.removesuffix("_total"), "-", names, registry=registry)
    for number, (value, label) in enumerate(zip(seconds, labels, strict=True)):
        requests.labels(*which, f"v{1 + number % 2}", "200").inc()
        taken.labels(*which).observe(value)
        classes.labels(*which, label).inc()
    for code in failed:
        requests.labels(*which, "v1", code).inc()
    return generate_latest(registry)


@pytest.fixture
def pages(monkeypatch):
    """What servers show, by their address; the others are down."""
    shown = {}

    def get(url, timeout):
        if url not in shown:
            raise httpx.ConnectError("refused")
        request = httpx.Request("GET", url)
        return httpx.Response(200, content=shown[url], request=request)

    monkeypatch.setattr(observations.httpx, "get", get)
    return shown


def source(*addresses):
    return ServerMetrics(lambda: {"7": addresses})


def test_counts_of_a_version_are_added_over_its_servers(pages):
    pages["http://one/metrics"] = metrics([0.012, 0.012], ["positive"] * 2)
    failed = ("500", "503", "400", "404")
    pages["http://two/metrics"] = metrics([40.0], ["negative"], failed)
    seen = source("http://one", "http://two/").read("7")
    assert (seen.requests, seen.errors, seen.refused) == (5, 2, 1)
    assert seen.classes == {"negative": 1, "positive": 2}
    assert seen.latency[SECONDS_BUCKETS.index(0.0125)] == 2
    assert (seen.latency[-1], seen.answered) == (1, 3)
    pages["http://one/metrics"] = metrics([0.1], ["neutral"], version="6")
    assert source("http://one").read("7") == Observations()


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_restarted_server_loses_nothing(overtaken, pages):
    servers = source("http://one")
    pages["http://one/metrics"] = metrics([0.03] * 5, ["positive"] * 5, ["500"])
    servers.read("7")
    # Overtaken, no counter is lower than before: only the time of creation tells.
    failed = ["500"] * 2 * overtaken
    pages["http://one/metrics"] = metrics([0.03] * 8, ["positive"] * 8, failed)
    seen = servers.read("7")
    errors = 3 if overtaken else 1
    assert (seen.requests, seen.errors, seen.answered) == (13 + errors, errors, 13)


def test_a_server_that_is_down_or_not_ours_is_an_error_and_leaves_no_trace(pages):
    servers = source("http://one", "http://two")
    pages["http://one/metrics"] = metrics([0.1], ["neutral"])
    with pytest.raises(NotObserved, match=r"http://two cannot be read \(ConnectError\)"):
        servers.read("7")
    pages["http://two/metrics"] = metrics()
    assert servers.read("7").requests == 1
    with pytest.raises(NotObserved, match="version 8"):
        servers.read("8")
    pages["http://one/metrics"] = metrics([0.1], ["sarcastic"])
    assert servers.read("7").classes["sarcastic"] == 1


class Prometheus:
    """Answers an instant query for a range vector from samples put into it."""

    def __init__(self, monkeypatch) -> None:
        self.samples: dict[str, tuple[dict[str, str], list[tuple[float, str]]]] = {}
        self.queries: list[str] = []
        monkeypatch.setattr(observations.httpx, "get", self.get)

    def scrape(self, at: float, pod: str, values: dict[tuple[str, str], int]) -> None:
        for (name, code), value in values.items():
            labels = {"__name__": name, "model_version": "7", "pod": pod, "protocol": "v2"}
            key = json.dumps(labels | {"code": code})
            self.samples.setdefault(key, (labels | {"code": code}, []))[1].append((at, str(value)))

    def get(self, url, params, timeout):
        assert url == "http://prometheus/api/v1/query"
        self.queries.append(params["query"])
        until, seconds = float(params["time"]), float(params["query"][:-2].split("[")[1])
        series = [
            {"metric": labels, "values": [v for v in values if until - seconds < v[0] <= until]}
            for labels, values in self.samples.values()
        ]
        found = [one for one in series if one["values"]]
        return httpx.Response(200, json={"status": "success", "data": {"result": found}})


def test_prometheus_counts_through_restarts_and_vanished_pods(monkeypatch):
    time = Time()
    time.sleep(1000)
    monkeypatch.setattr(observations.time, "time", time.clock)
    prometheus = Prometheus(monkeypatch)
    source = PrometheusServer("http://prometheus/", model_name="reviews", lookback_seconds=60)
    prometheus.scrape(980, "a", {(REQUESTS, "200"): 100})
    prometheus.scrape(990, "b", {(REQUESTS, "200"): 10, (REQUESTS, "500"): 1})
    start = source.read("7")
    assert 'model_version="7"' in prometheus.queries[0]
    assert 'model_name="reviews"' in prometheus.queries[0]
    # a ends after 20 more; b restarts and has overtaken its old count of answers; c is new.
    prometheus.scrape(1010, "a", {(REQUESTS, "200"): 120})
    prometheus.scrape(1010, "b", {(REQUESTS, "200"): 15})
    prometheus.scrape(1020, "c", {(REQUESTS, "200"): 7, (REQUESTS, "503"): 2})
    time.sleep(30)
    seen = source.read("7") - start
    assert (seen.requests, seen.errors, seen.refused) == (20 + 15 + 9, 2, 2)
    assert source.read("7") - start == seen


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(400, json={"status": "error", "error": "parse error"}), "parse error"),
        (httpx.Response(403, json={}), "403"),
        (httpx.Response(502, content=b"<html>"), "does not answer"),
        (httpx.Response(200, json=[]), "200"),
        (httpx.ConnectError("refused"), "does not answer .ConnectError"),
    ],
)
def test_prometheus_that_gives_no_counts_is_an_error(answer, words, monkeypatch):
    def get(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(observations.httpx, "get", get)
    with pytest.raises(NotObserved, match=words):
        PrometheusServer("http://prometheus").read("7")
