"""What is seen of one model version, as counts, from its servers or from Prometheus.

Counters begin at 0 again when a server restarts. Both sources here add up what each counter gained
since it was last read, so that what they return never runs backwards.
"""

import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import httpx

from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS
from components.shared.records.serving_metrics import (
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    SECONDS_BUCKETS,
)

_BUCKETS = f"{REQUEST_SECONDS}_bucket"
_CREATED = f"{REQUESTS.removesuffix('_total')}_created"
"""When each counter of requests began, as prometheus_client shows it: it reveals every restart."""
_SHOWN = (REQUESTS, _BUCKETS, PREDICTIONS, _CREATED)
_WITHIN_A_SERVER = ("__name__", "protocol", "code", "le", "label")


class NotObserved(UserError):  # noqa: N818 (what it says is not that the data are in error)
    """A server or Prometheus did not give its counts: nothing is known, which is not zero."""


class Verdict(StrEnum):
    """What to do with a version after what was seen of it."""

    PROMOTE = "promote"
    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True)
class Observations:
    """Counts of one model version over some time.

    Attributes:
        requests: Requests that the server answered or failed; 4xx are the client's mistakes and
            are left out.
        errors: Those of them that the server failed (5xx), refusals included.
        refused: Those of the errors that were refused for a full queue (503).
        latency: Answers with code 200 by the time they took, [len(SECONDS_BUCKETS) + 1]: count
            `i` is of answers slower than edge `i - 1` and not slower than edge `i`; the last is
            of those slower than all edges.
        classes: Predicted reviews by class name, in the order of the names.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    latency: tuple[int, ...] = (0,) * (len(SECONDS_BUCKETS) + 1)
    classes: Mapping[str, int] = field(default_factory=dict)

    def __sub__(self, earlier: "Observations") -> "Observations":
        """What was seen since an earlier reading; `ValueError` if a count ran backwards."""
        counts = zip(self._flat(), earlier._flat(), strict=True)
        requests, errors, refused, *latency = (now - before for now, before in counts)
        classes = {name: now - earlier.classes.get(name, 0) for name, now in self.classes.items()}
        if min(requests, errors, refused, *latency, *classes.values()) < 0:
            raise ValueError("the later reading counts less than the earlier one")
        return Observations(requests, errors, refused, tuple(latency), classes)

    @property
    def answered(self) -> int:
        """Answers with code 200: those whose latency is known."""
        return sum(self.latency)

    @property
    def predicted(self) -> int:
        """Reviews that got a label."""
        return sum(self.classes.values())

    def quantile(self, share: float) -> float | None:
        """Latency in seconds that a share (0 to 1) of the answers does not exceed.

        Within a bucket the answers are taken as evenly spread, as Prometheus' `histogram_quantile`
        does. None without answers; the highest edge where it lies beyond all edges.
        """
        if not self.answered:
            return None
        rank, passed, low = share * self.answered, 0, 0.0
        for edge, count in zip(SECONDS_BUCKETS, self.latency, strict=False):
            if count and passed + count >= rank:
                return low + (edge - low) * (rank - passed) / count
            passed, low = passed + count, edge
        return SECONDS_BUCKETS[-1]

    def slower_than(self, edge: int) -> int:
        """Number of answers slower than `SECONDS_BUCKETS[edge]`."""
        return sum(self.latency[edge + 1 :])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values, with median and 99th percentile of the latency in seconds."""
        counts = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        return counts | {"p50": self.quantile(0.5), "p99": self.quantile(0.99)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Observations":
        """From what `to_dict` wrote; earlier versions listed the counts of the three sentiments."""
        classes = values["classes"]
        if not isinstance(classes, Mapping):
            classes = zip(SENTIMENTS.names, classes, strict=True)
        return cls(
            *(int(values[name]) for name in ("requests", "errors", "refused")),
            tuple(map(int, values["latency"])),
            dict(classes),
        )

    def _flat(self) -> tuple[int, ...]:
        return (self.requests, self.errors, self.refused, *self.latency)


class ObservationSource(Protocol):
    """Where the counts of a model version come from."""

    def read(self, version: str) -> Observations:
        """Counts up to now, which never decrease; `NotObserved` if they cannot be had."""
        ...


@dataclass
class ServerMetrics:
    """Counts scraped from the `/metrics` of each version's servers: where there is no Prometheus.

    `addresses` are those of now, e.g. `http://127.0.0.1:8081`.
    """

    addresses: Callable[[], Mapping[str, Sequence[str]]]
    timeout_seconds: float = 5.0
    _gained: dict[str, "_Gained"] = field(default_factory=dict, repr=False)

    def read(self, version: str) -> Observations:
        """Counts of a version, all of its servers together, restarts included.

        Where a server does not answer nothing is counted, and the next reading misses nothing.
        """
        addresses = self.addresses().get(version)
        if not addresses:
            raise NotObserved(f"no server of model version {version} is known")
        readings = {one: self._scrape(one, version) for one in addresses}
        gained = self._gained.setdefault(version, _Gained())
        for address, reading in readings.items():
            gained.take(address, reading)
        return gained.observations()

    def _scrape(self, address: str, version: str) -> dict["_Series", float]:
        """The counters of a model version as a server shows them now."""
        from prometheus_client.parser import text_string_to_metric_families

        try:
            answer = httpx.get(f"{address.rstrip('/')}/metrics", timeout=self.timeout_seconds)
            families = list(text_string_to_metric_families(answer.raise_for_status().text))
        except (httpx.HTTPError, ValueError) as error:
            raise NotObserved(
                f"the metrics of model version {version} at {address} cannot be read "
                f"({type(error).__name__}); is the server up?"
            ) from None
        return {
            _series({**sample.labels, "__name__": sample.name}): sample.value
            for family in families
            for sample in family.samples
            if sample.name in _SHOWN and sample.labels.get("model_version") == version
        }


@dataclass
class PrometheusServer:
    """Counts asked of a Prometheus server that scrapes the model servers.

    The query is for the raw samples since the last reading,

        {__name__=~"...", model_version="7", model_name="..."}[SECONDS s]

    not for `sum(increase(...))`: `increase` guesses what lies beyond the first and last sample and
    so gives counts that are neither whole nor exact, and it takes restarts for each bucket by
    itself. Here each scrape of each server is taken as one reading, in the order of time. What a
    pod counted before it ended stays counted; a new pod counts from its 0.

    `url` is that of the HTTP API; an empty `model_name` counts any model. The first reading looks
    back `lookback_seconds`, several scrape intervals.
    """

    url: str
    model_name: str = ""
    lookback_seconds: float = 300.0
    timeout_seconds: float = 30.0
    _gained: dict[str, "_Gained"] = field(default_factory=dict, repr=False)
    _read_at: dict[str, float] = field(default_factory=dict, repr=False)

    def read(self, version: str) -> Observations:
        """Counts of a version up to the last scrape."""
        now = time.time()
        # Samples already taken are recognised by their time, so the overlap does no harm.
        seconds = math.ceil(now - self._read_at.get(version, now) + self.lookback_seconds)
        wanted = [f'__name__=~"{"|".join(_SHOWN)}"', f"model_version={json.dumps(version)}"]
        if self.model_name:
            wanted.append(f"model_name={json.dumps(self.model_name)}")
        scrapes: dict[tuple[float, str], dict[_Series, float]] = {}
        for one in self._ask(f"{{{','.join(wanted)}}}[{seconds}s]", now):
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
        try:
            answer = httpx.get(
                f"{self.url.rstrip('/')}/api/v1/query",
                params={"query": query, "time": f"{at:.3f}"},
                timeout=self.timeout_seconds,
            )
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
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

    def take(self, server: str, reading: Mapping[_Series, float], at: float = math.inf) -> None:
        """Add what a server's counters gained; a reading not later than its last is known."""
        if at <= self._taken_at.get(server, -math.inf) < math.inf:
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
        """All that was gained; `NotObserved` if by other buckets than this code's."""
        requests = errors = refused = 0
        up_to = dict.fromkeys((*SECONDS_BUCKETS, math.inf), 0)
        classes: Counter[str] = Counter()
        for series, count in self._total.items():
            if series.name == REQUESTS:
                requests += 0 if series.code.startswith("4") else count
                errors += count if series.code.startswith("5") else 0
                refused += count if series.code == "503" else 0
            elif series.name == PREDICTIONS:
                classes[series.label] += count
            elif series.name == _BUCKETS and float(series.le) in up_to:
                up_to[float(series.le)] += count
            else:
                raise NotObserved(
                    f"a server shows {series.name} for {series.label or series.le!r}, which this "
                    "version of the rollout does not know; run both from the same release"
                )
        latency = tuple(high - low for low, high in itertools.pairwise([0, *up_to.values()]))
        return Observations(requests, errors, refused, latency, dict(sorted(classes.items())))
