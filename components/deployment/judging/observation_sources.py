"""The counts of model versions, from the servers themselves or from Prometheus.

Counters begin at 0 again when a server restarts. Both sources here add up what each counter gained
since it was last read, so that what they return never runs backwards.
"""

import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.deployment.judging.observations import NotObserved, Observations
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.serving_metrics import (
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    SECONDS_BUCKETS,
)

_BUCKETS = f"{REQUEST_SECONDS}_bucket"
_COUNTERS = (REQUESTS, _BUCKETS, PREDICTIONS)
_CREATED = f"{REQUESTS.removesuffix('_total')}_created"
"""When each counter of requests began, as prometheus_client shows it: tells of every restart."""
_WITHIN_A_SERVER = ("__name__", "protocol", "code", "le", "label")


@dataclass
class ServerMetrics:
    """Counts scraped from the servers' own `/metrics`: where there is no Prometheus.

    Attributes:
        addresses: For each model version its servers, e.g. `127.0.0.1:8081` or a URL.
        timeout_seconds: How long a server may take to answer.
    """

    addresses: Mapping[str, Sequence[str]]
    timeout_seconds: float = 5.0
    _gained: dict[str, "_Gained"] = field(default_factory=dict, repr=False)

    def read(self, version: str) -> Observations:
        """Counts of a version, all of its servers together, restarts included.

        Args:
            version: As the servers tell it in the label `model_version`.

        Raises:
            NotObserved: If no server of the version is known, or one does not answer. Nothing is
                counted then, and the next reading misses nothing.
        """
        if not self.addresses.get(version):
            raise NotObserved(f"no server of model version {version} is known; give its address")
        readings = {
            address: _scrape(address, version, self.timeout_seconds)
            for address in self.addresses[version]
        }
        gained = self._gained.setdefault(version, _Gained())
        for address, reading in readings.items():
            gained.take(address, reading)
        return gained.observations()


@dataclass
class PrometheusServer:
    """Counts asked of a Prometheus server that scrapes the model servers.

    The query is for the raw samples since the last reading,

        {__name__=~"...", model_version="7", model_name="..."}[SECONDS s]

    not for `sum(increase(...))`: `increase` guesses what lies beyond the first and last sample and
    so gives counts that are neither whole nor exact, and it takes restarts for each bucket by
    itself. Here each scrape of each server is taken as one reading, in the order of time. What a
    pod counted before it ended stays counted; a new pod counts from its 0.

    Attributes:
        url: Of the HTTP API, e.g. `http://prometheus.monitoring:9090`.
        model_name: Served model to count; any where empty.
        lookback_seconds: How far the first reading looks back; several scrape intervals.
        headers: Sent along, e.g. `Authorization`.
        timeout_seconds: How long the server may take to answer.
    """

    url: str
    model_name: str = ""
    lookback_seconds: float = 300.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 30.0
    _gained: dict[str, "_Gained"] = field(default_factory=dict, repr=False)
    _read_at: dict[str, float] = field(default_factory=dict, repr=False)

    def read(self, version: str) -> Observations:
        """Counts of a version up to the last scrape.

        Args:
            version: As the servers tell it in the label `model_version`.

        Raises:
            NotObserved: If Prometheus does not answer the query.
        """
        now = time.time()
        # Samples already taken are known by their time, so the overlap does no harm.
        seconds = math.ceil(now - self._read_at.get(version, now) + self.lookback_seconds)
        wanted = [
            f'__name__=~"{"|".join((*_COUNTERS, _CREATED))}"',
            f"model_version={json.dumps(version)}",
        ]
        if self.model_name:
            wanted.append(f"model_name={json.dumps(self.model_name)}")
        series = self._ask(f"{{{','.join(wanted)}}}[{seconds}s]", now)
        scrapes: dict[tuple[float, str], dict[_Series, float]] = {}
        for one in series:
            labels = one["metric"]
            server = json.dumps(
                {name: text for name, text in labels.items() if name not in _WITHIN_A_SERVER},
                sort_keys=True,
            )
            for at, value in one["values"]:
                scrapes.setdefault((float(at), server), {})[_series(labels)] = float(value)
        gained = self._gained.setdefault(version, _Gained())
        for (at, server), reading in sorted(scrapes.items(), key=lambda item: item[0]):
            gained.take(server, reading, at)
        self._read_at[version] = now
        return gained.observations()

    def _ask(self, query: str, at: float) -> list[dict[str, Any]]:
        """The series that a query gives, each with its labels and samples."""
        import requests

        try:
            answer = requests.get(
                f"{self.url.rstrip('/')}/api/v1/query",
                params={"query": query, "time": f"{at:.3f}"},
                headers=dict(self.headers),
                timeout=self.timeout_seconds,
            )
            body = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise NotObserved(
                f"Prometheus at {self.url} does not answer ({type(error).__name__}); "
                "check its address and that it is up"
            ) from None
        if not isinstance(body, dict) or body.get("status") != "success":
            why = body.get("error") if isinstance(body, dict) else None
            raise NotObserved(
                f"Prometheus at {self.url} refuses the query ({why or answer.status_code}); "
                "check its address and permissions"
            )
        result: list[dict[str, Any]] = body["data"]["result"]
        return result


class _Series(NamedTuple):
    """Which counter of a server it is: name, and the labels that tell it from its siblings."""

    name: str
    protocol: str
    code: str
    le: str
    label: str


def _series(labels: Mapping[str, str]) -> _Series:
    return _Series(*(labels.get(name, "") for name in _WITHIN_A_SERVER))


def _scrape(address: str, version: str, timeout_seconds: float) -> dict[_Series, float]:
    """The counters of a model version as a server shows them now."""
    import requests
    from prometheus_client.parser import text_string_to_metric_families

    url = address if "://" in address else f"http://{address}"
    try:
        answer = requests.get(f"{url.rstrip('/')}/metrics", timeout=timeout_seconds)
        answer.raise_for_status()
        families = list(text_string_to_metric_families(answer.text))
    except (requests.RequestException, ValueError) as error:
        raise NotObserved(
            f"the metrics of model version {version} at {address} cannot be read "
            f"({type(error).__name__}); is the server up?"
        ) from None
    return {
        _series({**sample.labels, "__name__": sample.name}): sample.value
        for family in families
        for sample in family.samples
        if sample.name in (*_COUNTERS, _CREATED) and sample.labels.get("model_version") == version
    }


class _Gained:
    """What the counters of one model version gained, over servers and their restarts.

    A restarted server shows another time of creation, and some counter lower than before or not
    at all; all of its counters have then begun at 0 again. They are looked at together, because a
    single counter may have overtaken its old value already.
    """

    def __init__(self) -> None:
        self._last: dict[str, dict[_Series, float]] = {}
        self._taken_at: dict[str, float] = {}
        self._total: Counter[_Series] = Counter()

    def take(self, server: str, reading: Mapping[_Series, float], at: float | None = None) -> None:
        """Add what a server's counters gained since its last reading.

        Args:
            server: Who it is.
            reading: All of its counters.
            at: Time of the reading; one not later than the last is known already. None is now.
        """
        if at is not None:
            if at <= self._taken_at.get(server, -math.inf):
                return
            self._taken_at[server] = at
        last = self._last.get(server, {})
        if any(
            reading.get(series, -1.0) < value
            or (series.name == _CREATED and reading[series] != value)
            for series, value in last.items()
        ):
            last = {}
        for series, value in reading.items():
            if series.name != _CREATED:
                self._total[series] += round(value - last.get(series, 0.0))
        self._last[server] = dict(reading)

    def observations(self) -> Observations:
        """All that was gained.

        Raises:
            NotObserved: If a server counts by other classes or buckets than this code.
        """
        requests = errors = refused = 0
        edges = (*SECONDS_BUCKETS, math.inf)
        up_to = dict.fromkeys(edges, 0)
        classes = dict.fromkeys(CLASS_NAMES, 0)
        for series, count in self._total.items():
            if series.name == REQUESTS:
                requests += 0 if series.code.startswith("4") else count
                errors += count if series.code.startswith("5") else 0
                refused += count if series.code == "503" else 0
            elif series.name == PREDICTIONS and series.label in classes:
                classes[series.label] += count
            elif series.name == _BUCKETS and float(series.le) in up_to:
                up_to[float(series.le)] += count
            else:
                raise NotObserved(
                    f"a server shows {series.name} for {series.label or series.le!r}, which this "
                    "version of the rollout does not know; run both from the same release"
                )
        cumulative = [0, *(up_to[edge] for edge in edges)]
        latency = tuple(high - low for low, high in itertools.pairwise(cumulative))
        return Observations(requests, errors, refused, latency, tuple(classes.values()))
