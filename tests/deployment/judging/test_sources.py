import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from components.deployment.judging import observations
from components.deployment.judging.observations import (
    NotObserved,
    Observations,
    PrometheusServer,
    ServerMetrics,
)
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.serving_metrics import (
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    SECONDS_BUCKETS,
)

BUCKETS = len(SECONDS_BUCKETS) + 1


class ModelServer:
    """The metrics of a model server, served by the library that the real one uses."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        which = {"model_name": "reviews", "model_version": version}
        names = tuple(which)
        self._requests = Counter(
            REQUESTS.removesuffix("_total"),
            "-",
            (*names, "protocol", "code"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            REQUEST_SECONDS, "-", names, registry=self.registry, buckets=SECONDS_BUCKETS
        )
        self._classes = Counter(
            PREDICTIONS.removesuffix("_total"), "-", (*names, "label"), registry=self.registry
        )
        self._which = which

    def answer(self, seconds: float, label: str, protocol: str = "v2") -> None:
        self._requests.labels(**self._which, protocol=protocol, code="200").inc()
        self._seconds.labels(**self._which).observe(seconds)
        self._classes.labels(**self._which, label=label).inc()

    def fail(self, code: str) -> None:
        self._requests.labels(**self._which, protocol="v1", code=code).inc()

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[str]:
        server, thread = start_http_server(port, "127.0.0.1", self.registry)
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def test_counts_of_a_version_are_added_over_its_servers():
    one, two = ModelServer("7"), ModelServer("7")
    one.answer(0.012, "positive", "v1")
    one.answer(0.012, "positive")
    two.answer(40.0, "negative")
    for code in ("500", "503", "400", "404"):
        two.fail(code)
    with one.listening() as first, two.listening() as second:
        seen = ServerMetrics(lambda: {"7": [first, f"{second}/"]}).read("7")
    assert (seen.requests, seen.errors, seen.refused) == (5, 2, 1)
    assert seen.classes == tuple(
        {"positive": 2, "negative": 1}.get(name, 0) for name in CLASS_NAMES
    )
    assert seen.latency[SECONDS_BUCKETS.index(0.0125)] == 2
    assert seen.latency[-1] == 1
    assert seen.answered == 3


def test_another_version_at_the_same_address_is_not_counted():
    server = ModelServer("6")
    server.answer(0.1, "neutral")
    with server.listening() as address:
        assert ServerMetrics(lambda: {"7": [address]}).read("7") == Observations()


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_restarted_server_loses_nothing(overtaken):
    before, after = ModelServer("7"), ModelServer("7")
    for _ in range(5):
        before.answer(0.03, "positive")
    before.fail("500")
    for _ in range(8):
        after.answer(0.03, "positive")
    if overtaken:  # no counter is lower than before: only the time of creation tells
        after.fail("500")
        after.fail("500")
    with before.listening() as address:
        source = ServerMetrics(lambda: {"7": [address]})
        source.read("7")
    with after.listening(int(address.rpartition(":")[2])):
        seen = source.read("7")
    errors = 3 if overtaken else 1
    assert (seen.requests, seen.errors, seen.answered) == (13 + errors, errors, 13)


def test_a_server_that_is_down_is_an_error_and_leaves_no_trace():
    one, two = ModelServer("7"), ModelServer("7")
    one.answer(0.1, "neutral")
    with one.listening() as first:
        with two.listening() as second:
            pass
        source = ServerMetrics(lambda: {"7": [first, second]})
        with pytest.raises(NotObserved, match=second):
            source.read("7")
        with two.listening(int(second.rpartition(":")[2])):
            assert source.read("7").requests == 1
    with pytest.raises(NotObserved, match="version 8"):
        source.read("8")


def test_a_class_that_is_not_known_is_an_error():
    server = ModelServer("7")
    server.answer(0.1, "sarcastic")
    with server.listening() as address, pytest.raises(NotObserved, match="sarcastic"):
        ServerMetrics(lambda: {"7": [address]}).read("7")


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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("components.deployment.judging.observations.time.time", lambda: now[0])
    return now


def test_prometheus_counts_through_restarts_and_vanished_pods(clock, monkeypatch):
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
    clock[0] = 1030.0
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
