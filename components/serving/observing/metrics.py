"""What a model server counts, in the names of `components.shared.records.serving_metrics`.

KServe's `/metrics` shows all that stands in `prometheus_client`'s default registry, so metrics made
there appear beside its own `request_*_seconds`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from components.shared.records import serving_metrics as names
from components.shared.records.labels import CLASS_NAMES

PROTOCOLS: tuple[str, ...] = ("v1", "v2", "grpc")
"""Values of the label `protocol`."""

_MODEL = ("model_name", "model_version")


@dataclass(frozen=True)
class _Families:
    """The metrics of one registry, before the model's name and version are filled in."""

    requests: Counter
    request_seconds: Histogram
    queue_seconds: Histogram
    batch_reviews: Histogram
    queued_reviews: Gauge
    predictions: Counter
    confidence: Histogram
    truncated: Counter
    payloads_dropped: Counter


_families_of: WeakKeyDictionary[CollectorRegistry, _Families] = WeakKeyDictionary()


class ServingMetrics:
    """The metrics of one model version.

    Every method is safe from any thread. Two models in one process share the registry's metrics and
    differ in their labels.
    """

    def __init__(
        self, model_name: str, model_version: str, registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Make the metrics and resolve their labels, so that counting does not look them up.

        Args:
            model_name: Name in the URLs.
            model_version: Version in the registry.
            registry: Where the metrics stand; the default is the one that `/metrics` shows.
        """
        families = _families_of.get(registry)
        if families is None:
            families = _families_of[registry] = _made_in(registry)
        model = (model_name, model_version)
        self._requests = families.requests
        self._model = model
        # Made at once where they are sure to come, so that a rate over their first minute is right.
        self._answered = {(protocol, 200): self._child(protocol, 200) for protocol in PROTOCOLS}
        self._request_seconds = families.request_seconds.labels(*model)
        self._queue_seconds = families.queue_seconds.labels(*model)
        self._batch_reviews = families.batch_reviews.labels(*model)
        self._queued_reviews = families.queued_reviews.labels(*model)
        self._predictions = [families.predictions.labels(*model, name) for name in CLASS_NAMES]
        self._confidence = families.confidence.labels(*model)
        self._truncated = families.truncated.labels(*model)
        self._payloads_dropped = families.payloads_dropped.labels(*model)

    def _child(self, protocol: str, code: int) -> Counter:
        return self._requests.labels(*self._model, protocol, str(code))

    def answered(self, protocol: str, code: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            protocol: `v1`, `v2` or `grpc`.
            code: HTTP status of the answer, or the one that stands for a gRPC status.
            seconds: From the request's arrival to the answer's last byte.
        """
        child = self._answered.get((protocol, code))
        if child is None:
            child = self._answered[protocol, code] = self._child(protocol, code)
        child.inc()
        if code == 200:
            self._request_seconds.observe(seconds)

    def batch(self, reviews: int, queue_seconds: Sequence[float]) -> None:
        """Count a forward pass.

        Args:
            reviews: Reviews in it.
            queue_seconds: For each request whose texts it took: how long they had waited.
        """
        self._batch_reviews.observe(reviews)
        for seconds in queue_seconds:
            self._queue_seconds.observe(seconds)

    def predicted(self, classes: ArrayLike, probabilities: ArrayLike, truncated: ArrayLike) -> None:
        """Count predictions, their confidence, and the texts that were cut.

        Args:
            classes: Class index of each review [n].
            probabilities: Calibrated probability of each class [n, classes].
            truncated: Whether each text was cut [n], bool.
        """
        rows = np.asarray(probabilities).tolist()
        for index, row in zip(np.asarray(classes).tolist(), rows, strict=True):
            self._predictions[index].inc()
            # Rounding may lead a hair above 1, past the last bucket.
            self._confidence.observe(min(row[index], 1.0))
        if cut := int(np.count_nonzero(truncated)):
            self._truncated.inc(cut)

    def queued(self, reviews: int) -> None:
        """State how many reviews wait for a forward pass now."""
        self._queued_reviews.set(reviews)

    def payloads_dropped(self, rows: int) -> None:
        """Count answers that the payload log could not keep."""
        self._payloads_dropped.inc(rows)


def _made_in(registry: CollectorRegistry) -> _Families:
    """All metrics of the contract, registered."""

    def counter(name: str, says: str, *labels: str) -> Counter:
        return Counter(name, says, (*_MODEL, *labels), registry=registry)

    def histogram(name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, says, _MODEL, buckets=buckets, registry=registry)

    seconds = names.SECONDS_BUCKETS
    return _Families(
        requests=counter(names.REQUESTS, "Answered requests.", "protocol", "code"),
        request_seconds=histogram(
            names.REQUEST_SECONDS, "Arrival to answer, of answers with code 200.", seconds
        ),
        queue_seconds=histogram(
            names.QUEUE_SECONDS, "Wait of a request's texts for a forward pass.", seconds
        ),
        batch_reviews=histogram(
            names.BATCH_REVIEWS, "Reviews in a forward pass.", names.REVIEWS_BUCKETS
        ),
        queued_reviews=Gauge(
            names.QUEUED_REVIEWS,
            "Reviews that wait for a forward pass.",
            _MODEL,
            registry=registry,
        ),
        predictions=counter(names.PREDICTIONS, "Predicted reviews.", "label"),
        confidence=histogram(
            names.CONFIDENCE,
            "Calibrated probability of the predicted class.",
            names.CONFIDENCE_BUCKETS,
        ),
        truncated=counter(names.TRUNCATED, "Reviews that were cut to what the model reads."),
        payloads_dropped=counter(
            names.PAYLOADS_DROPPED, "Answers that the payload log could not keep."
        ),
    )
