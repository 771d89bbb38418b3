"""The metrics that a model server shows and a rollout reads: names, labels and bucket edges.

Each carries the labels `model_name` and `model_version`, so that the two versions of a rollout can
be told apart wherever they are scraped. Counters are named here as they appear in the text format.
"""

REQUESTS = "review_sentiment_requests_total"
"""Answered requests, by `protocol` (`v1`, `v2`, `grpc`) and HTTP status `code`; for gRPC the status
that REST would have given. 4xx are the client's mistakes, 5xx the server's."""

REQUEST_SECONDS = "review_sentiment_request_seconds"
"""Histogram of the time from a request's arrival to its answer, of answers with code 200."""

QUEUE_SECONDS = "review_sentiment_queue_seconds"
"""Histogram of the time that a request's texts waited for a forward pass."""

BATCH_REVIEWS = "review_sentiment_batch_reviews"
"""Histogram of the reviews in a forward pass."""

QUEUED_REVIEWS = "review_sentiment_queued_reviews"
"""Gauge: reviews that wait for a forward pass."""

PREDICTIONS = "review_sentiment_predictions_total"
"""Predicted reviews, by `label` (class name)."""

CONFIDENCE = "review_sentiment_confidence"
"""Histogram of the calibrated probability of the predicted class."""

TRUNCATED = "review_sentiment_truncated_total"
"""Reviews that were longer than the model reads and were cut."""

PAYLOADS_DROPPED = "review_sentiment_payloads_dropped_total"
"""Answers that the payload log could not keep because its sink was slow or failing."""

MASKED = "review_sentiment_masked_total"
"""Personal data that was masked in kept texts, by `kind` (`records.masking.KINDS`)."""

SECONDS_BUCKETS: tuple[float, ...] = (
    *(0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.0065, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025),
    *(0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0),
    *(1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
)
"""Upper edges in seconds: steps of a quarter to a third, so that a quantile read off the buckets is
right to that."""

REVIEWS_BUCKETS: tuple[float, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Upper edges in reviews."""

CONFIDENCE_BUCKETS: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 1.0)
"""Upper edges as probabilities."""
