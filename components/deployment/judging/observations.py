"""What was seen of one model version, as counts, and who tells them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from components.shared.machine.errors import UserError
from components.shared.records.labels import CLASS_NAMES
from components.shared.records.serving_metrics import SECONDS_BUCKETS


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
