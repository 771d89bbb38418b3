import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from components.serving.observing.metrics import ServingMetrics
from components.shared.records import serving_metrics as names
from components.shared.records.labels import SENTIMENTS
from components.shared.records.masking import KINDS


def value(registry, name, **labels):
    labels = {"model_name": "reviews", "model_version": "7", **labels}
    return registry.get_sample_value(name, labels)


def test_each_metric_of_the_contract_is_shown_by_its_name(metrics, registry):
    metrics.answered("v2", 400, 0.1)
    histograms = (names.REQUEST_SECONDS, names.QUEUE_SECONDS, names.BATCH_REVIEWS, names.CONFIDENCE)
    counters = [names.REQUESTS, names.PREDICTIONS, names.TRUNCATED]
    counters += [names.PAYLOADS_DROPPED, names.MASKED]
    families = list(registry.collect())
    assert {family.name: family.type for family in families} == {
        **{names.QUEUED_REVIEWS: "gauge"} | dict.fromkeys(histograms, "histogram"),
        **{name.removesuffix("_total"): "counter" for name in counters},
    }
    labels = {"model_name": "reviews", "model_version": "7"}
    samples = [sample for family in families for sample in family.samples]
    assert all(labels.items() <= sample.labels.items() for sample in samples)


def test_only_answers_with_code_200_are_timed(metrics, registry):
    assert value(registry, names.REQUESTS, protocol="grpc", code="200") == 0
    metrics.answered("v1", 200, 0.0035)
    metrics.answered("v1", 503, 9.0)
    metrics.answered("grpc", 503, 9.0)
    metrics.answered("grpc", 503, 9.0)
    assert value(registry, names.REQUESTS, protocol="v1", code="200") == 1
    assert value(registry, names.REQUESTS, protocol="v1", code="503") == 1
    assert value(registry, names.REQUESTS, protocol="grpc", code="503") == 2
    assert value(registry, f"{names.REQUEST_SECONDS}_count") == 1
    assert value(registry, f"{names.REQUEST_SECONDS}_bucket", le="0.003") == 0
    assert value(registry, f"{names.REQUEST_SECONDS}_bucket", le="0.004") == 1


def test_batches_queue_and_losses(metrics, registry):
    assert {value(registry, names.PREDICTIONS, label=name) for name in SENTIMENTS.names} == {0}
    assert value(registry, names.PAYLOADS_DROPPED) == 0
    waiting = [5]
    metrics.watch_queue(lambda: waiting[-1])
    waiting.append(2)
    metrics.batch(3, [0.001, 0.2])
    metrics.payloads_dropped(4)
    assert value(registry, names.QUEUED_REVIEWS) == 2
    assert value(registry, f"{names.BATCH_REVIEWS}_bucket", le="2.0") == 0
    assert value(registry, f"{names.BATCH_REVIEWS}_bucket", le="4.0") == 1
    assert value(registry, f"{names.QUEUE_SECONDS}_sum") == pytest.approx(0.201)
    assert value(registry, f"{names.QUEUE_SECONDS}_count") == 2
    assert value(registry, names.PAYLOADS_DROPPED) == 4


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 1), st.booleans()), max_size=20))
def test_each_prediction_counts_once_with_the_probability_of_its_class(rows):
    registry = CollectorRegistry()
    metrics = ServingMetrics("reviews", "7", registry)
    classes = np.array([index for index, _, _ in rows], dtype=np.int64)
    # The predicted class need not be the most probable: offsets may decide otherwise.
    chances = np.full((len(rows), 3), 0.99)
    chances[np.arange(len(rows)), classes] = [chance for _, chance, _ in rows]
    metrics.predicted(classes, chances, np.array([cut for _, _, cut in rows], dtype=bool))
    said = [value(registry, names.PREDICTIONS, label=name) for name in SENTIMENTS.names]
    assert said == [int((classes == index).sum()) for index in range(3)]
    below = sum(chance <= 0.7 for _, chance, _ in rows)
    assert value(registry, f"{names.CONFIDENCE}_bucket", le="0.7") == below
    assert value(registry, f"{names.CONFIDENCE}_count") == len(rows)
    assert value(registry, names.TRUNCATED) == sum(cut for _, _, cut in rows)


def test_rounding_above_one_stays_in_the_last_bucket(metrics, registry):
    metrics.predicted([2], np.array([[0.0, 0.0, 1.0000001]]), [False])
    assert value(registry, f"{names.CONFIDENCE}_bucket", le="1.0") == 1


def test_what_was_masked_is_counted_by_kind(metrics, registry):
    metrics.masked({"email": 2, "name": 1})
    metrics.masked({"email": 1})
    found = {kind: value(registry, names.MASKED, kind=kind) for kind in KINDS}
    assert found == dict.fromkeys(KINDS, 0) | {"email": 3, "name": 1}
