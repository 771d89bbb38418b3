"""What a model server counts, in the names of `components.shared.records.serving_metrics`.

`/metrics` shows all that is in `prometheus_client`'s default registry, so that these metrics stand
beside KServe's own `request_*_seconds`.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from components.shared.records import serving_metrics as names
from components.shared.records.labels import SENTIMENTS
from components.shared.records.masking import KINDS

PROTOCOLS: tuple[str, ...] = ("v1", "v2", "grpc")
"""Values of the label `protocol`."""

_MODEL = ("model_name", "model_version")


class ServingMetrics:
    """The metrics of one model version; every method may be called from any thread."""

    def __init__(
        self,
        model_name: str,
        model_version: str,
        registry: CollectorRegistry = REGISTRY,
        class_names: Sequence[str] = SENTIMENTS.names,
    ) -> None:
        """Register the metrics and resolve their labels, so that counting does not look them up."""
        self._model = model = (model_name, model_version)

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(name, about, (*_MODEL, *labels), registry=registry)

        def histogram(name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, about, _MODEL, buckets=buckets, registry=registry).labels(*model)

        seconds = names.SECONDS_BUCKETS
        self._requests = counter(names.REQUESTS, "Answered requests.", "protocol", "code")
        # Made at once where they are sure to come, so that a rate over their first minute is right.
        self._answered = {(protocol, 200): self._child(protocol, 200) for protocol in PROTOCOLS}
        self._request_seconds = histogram(
            names.REQUEST_SECONDS, "Arrival to answer, of answers with code 200.", seconds
        )
        self._queue_seconds = histogram(
            names.QUEUE_SECONDS, "Wait of a request's texts for a forward pass.", seconds
        )
        self._batch_reviews = histogram(
            names.BATCH_REVIEWS, "Reviews in a forward pass.", names.REVIEWS_BUCKETS
        )
        self._confidence = histogram(
            names.CONFIDENCE,
            "Calibrated probability of the predicted class.",
            names.CONFIDENCE_BUCKETS,
        )
        self._queued_reviews = Gauge(
            names.QUEUED_REVIEWS, "Reviews that wait for a forward pass.", _MODEL, registry=registry
        ).labels(*model)
        predictions = counter(names.PREDICTIONS, "Predicted reviews.", "label")
        self._predictions = [predictions.labels(*model, name) for name in class_names]
        self._truncated = counter(
            names.TRUNCATED, "Reviews that were cut to what the model reads."
        ).labels(*model)
        self._payloads_dropped = counter(
            names.PAYLOADS_DROPPED, "Answers that the payload log could not keep."
        ).labels(*model)
        masked = counter(names.MASKED, "Personal data masked in kept texts.", "kind")
        self._masked = {kind: masked.labels(*model, kind) for kind in KINDS}

    def _child(self, protocol: str, code: int) -> Counter:
        return self._requests.labels(*self._model, protocol, str(code))

    def answered(self, protocol: str, code: int, seconds: float) -> None:
        """Count an answer with its HTTP status, and the seconds from arrival to its last byte."""
        child = self._answered.get((protocol, code))
        if child is None:
            child = self._answered[protocol, code] = self._child(protocol, code)
        child.inc()
        if code == 200:
            self._request_seconds.observe(seconds)

    def batch(self, reviews: int, queue_seconds: Sequence[float]) -> None:
        """Count a forward pass, and for each of its reviews how long it had waited."""
        self._batch_reviews.observe(reviews)
        for seconds in queue_seconds:
            self._queue_seconds.observe(seconds)

    def predicted(self, classes: ArrayLike, probabilities: ArrayLike, truncated: ArrayLike) -> None:
        """Count predictions [n], their confidence [n, classes], and the texts that were cut [n]."""
        rows = np.asarray(probabilities).tolist()
        for index, row in zip(np.asarray(classes).tolist(), rows, strict=True):
            self._predictions[index].inc()
            # Rounding may lead a hair above 1, past the last bucket.
            self._confidence.observe(min(row[index], 1.0))
        if cut := int(np.count_nonzero(truncated)):
            self._truncated.inc(cut)

    def watch_queue(self, queued_reviews: Callable[[], int]) -> None:
        """Ask for the number of waiting reviews whenever the metrics are read."""
        self._queued_reviews.set_function(queued_reviews)

    def masked(self, finds: Mapping[str, int]) -> None:
        """Count what was masked in kept texts, by kind."""
        for kind, times in finds.items():
            self._masked[kind].inc(times)

    def payloads_dropped(self, rows: int) -> None:
        """Count answers that the payload log could not keep."""
        self._payloads_dropped.inc(rows)
