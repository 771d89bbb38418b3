"""What was seen of one model version: counts, from the servers themselves or from Prometheus.

Counters begin at 0 again when a server restarts. Both sources here add up what each counter gained
since it was last read, so that what they return never runs backwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from components.contracts.errors import UserError
from components.contracts.labels import CLASS_NAMES
from components.contracts.serving_metrics import (
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    SECONDS_BUCKETS,
)


class NotObserved(UserError):  # noqa: N818 (what it says is not that the data are in error)
    """A server or Prometheus did not give its counts: nothing is known, which is not zero."""


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
        classes: Predicted reviews by class, in the order of `CLASS_NAMES`.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    latency: tuple[int, ...] = (0,) * (len(SECONDS_BUCKETS) + 1)
    classes: tuple[int, ...] = (0,) * len(CLASS_NAMES)

    def __add__(self, other: "Observations") -> "Observations":
        """Counts of two replicas together."""
        return self._with(other, 1)

    def __sub__(self, earlier: "Observations") -> "Observations":
        """What was seen since an earlier reading.

        Raises:
            ValueError: If a count is smaller than it was earlier.
        """
        return self._with(earlier, -1)

    @property
    def answered(self) -> int:
        """Answers with code 200: those whose latency is known."""
        return sum(self.latency)

    @property
    def predicted(self) -> int:
        """Reviews that got a label."""
        return sum(self.classes)

    @property
    def p50(self) -> float | None:
        """Median latency in seconds."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float | None:
        """99th percentile of the latency in seconds."""
        return self.quantile(0.99)

    def quantile(self, share: float) -> float | None:
        """Latency in seconds that a share of answers does not exceed.

        Within a bucket the answers are taken as evenly spread, as Prometheus' `histogram_quantile`
        does.

        Args:
            share: Between 0 and 1.

        Returns:
            The quantile; None without answers; the highest edge where it lies beyond all edges.
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
        """As JSON-ready values."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "refused": self.refused,
            "latency": list(self.latency),
            "classes": list(self.classes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Observations":
        """From what `to_dict` wrote."""
        return cls(
            int(values["requests"]),
            int(values["errors"]),
            int(values["refused"]),
            tuple(map(int, values["latency"])),
            tuple(map(int, values["classes"])),
        )

    def _with(self, other: "Observations", sign: int) -> "Observations":
        def each(mine: Iterable[int], theirs: Iterable[int]) -> tuple[int, ...]:
            return tuple(a + sign * b for a, b in zip(mine, theirs, strict=True))

        requests, errors, refused = each(
            (self.requests, self.errors, self.refused),
            (other.requests, other.errors, other.refused),
        )
        latency, classes = each(self.latency, other.latency), each(self.classes, other.classes)
        if min(requests, errors, refused, *latency, *classes) < 0:
            raise ValueError("the later reading counts less than the earlier one")
        return Observations(requests, errors, refused, latency, classes)


class ObservationSource(Protocol):
    """Where the counts of a model version come from."""

    def read(self, version: str) -> Observations:
        """Counts of a version up to now; they never decrease from one call to the next.

        Raises:
            NotObserved: If they cannot be had.
        """
        ...


@dataclass
class ServerMetrics:
    """Counts scraped from the servers' own `/metrics`: where there is no Prometheus.

    Attributes:
        addresses: For each model version its servers, e.g. `127.0.0.1:8081` or a URL.
        timeout_seconds: How long a server may take to answer.
    """

    addresses: Mapping[str, Sequence[str]]
    timeout_seconds: float = 5.0
    _gained: "_Gained" = field(default_factory=lambda: _Gained(), repr=False)

    def read(self, version: str) -> Observations:
        """Counts of a version, all of its servers together, since they were first read.

        Raises:
            NotObserved: If no server of the version is known, or one does not answer.
        """
        import requests
        from prometheus_client.parser import text_string_to_metric_families

        if not self.addresses.get(version):
            raise NotObserved(f"no server of model version {version} is known; give its address")
        texts = {}
        for address in self.addresses[version]:
            url = address if "://" in address else f"http://{address}"
            try:
                answer = requests.get(f"{url.rstrip('/')}/metrics", timeout=self.timeout_seconds)
                answer.raise_for_status()
            except requests.RequestException as error:
                raise NotObserved(
                    f"the metrics of model version {version} at {address} cannot be read "
                    f"({type(error).__name__}); is the server up?"
                ) from None
            texts[address] = answer.text
        # All have answered: only now count, so that a failed reading leaves no trace.
        for address, text in texts.items():
            for family in text_string_to_metric_families(text):
                for name, labels, value, *_ in family.samples:
                    if name in _COUNTERS and labels.get("model_version") == version:
                        self._gained.add({**labels, "__name__": name, "server": address}, value)
        return self._gained.observations(version)


_BUCKETS = f"{REQUEST_SECONDS}_bucket"
_COUNTERS = (REQUESTS, _BUCKETS, PREDICTIONS)


class _Gained:
    """Sums of counters that may restart at 0, each known by its labels."""

    def __init__(self) -> None:
        self._last: dict[frozenset[tuple[str, str]], float] = {}
        self._total: dict[frozenset[tuple[str, str]], float] = {}

    def add(self, labels: Mapping[str, str], value: float) -> None:
        """Take in a counter's value: less than before means that it began anew."""
        key = frozenset(labels.items())
        last = self._last.get(key, 0.0)
        self._total[key] = self._total.get(key, 0.0) + (value - last if value >= last else value)
        self._last[key] = value

    def observations(self, version: str) -> Observations:
        """What the counters of a version gained together."""
        requests = errors = refused = 0
        below = dict.fromkeys((*SECONDS_BUCKETS, float("inf")), 0)
        classes = dict.fromkeys(CLASS_NAMES, 0)
        for key, total in self._total.items():
            labels = dict(key)
            if labels["model_version"] != version:
                continue
            count = round(total)
            match labels["__name__"]:
                case name if name == REQUESTS:
                    if not labels["code"].startswith("4"):
                        requests += count
                        errors += count if labels["code"].startswith("5") else 0
                        refused += count if labels["code"] == "503" else 0
                case name if name == PREDICTIONS:
                    classes[labels["label"]] += count
                case _:
                    below[float(labels["le"])] += count
        cumulative = [below[edge] for edge in (*SECONDS_BUCKETS, float("inf"))]
        return Observations(
            requests,
            errors,
            refused,
            tuple(b - a for a, b in zip([0, *cumulative], cumulative, strict=False)),
            tuple(classes.values()),
        )


@dataclass
class PrometheusServer:
    """Counts asked of a Prometheus server: where one scrapes the model servers.

    Attributes:
        url: Of the server's HTTP API, e.g. `http://prometheus.monitoring:9090`.
    """

    url: str

    def read(self, version: str) -> Observations:
        """Counts of a version up to now."""
        raise NotImplementedError
