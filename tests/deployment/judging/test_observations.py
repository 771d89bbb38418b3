import json
from bisect import bisect_left
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment.judging.observations import Observations
from components.shared.records.labels import SENTIMENTS
from components.shared.records.serving_metrics import SECONDS_BUCKETS

BUCKETS = len(SECONDS_BUCKETS) + 1
counts = st.integers(0, 10**6)
observed = st.builds(
    Observations,
    counts,
    counts,
    counts,
    st.tuples(*[counts] * BUCKETS),
    st.fixed_dictionaries(dict.fromkeys(SENTIMENTS.names, counts)),
)


def timed(*seconds):
    """Answers that took so long."""
    taken = Counter(bisect_left(SECONDS_BUCKETS, value) for value in seconds)
    return Observations(latency=tuple(taken[bucket] for bucket in range(BUCKETS)))


def added(one, other):
    """Counts of two servers together."""
    pairs = zip(one._flat(), other._flat(), strict=True)
    requests, errors, refused, *latency = map(sum, pairs)
    classes = {name: n + one.classes.get(name, 0) for name, n in other.classes.items()}
    return Observations(requests, errors, refused, tuple(latency), classes)


@given(observed, observed)
def test_later_minus_earlier_is_what_came_between(earlier, between):
    assert added(earlier, between) - earlier == between
    assert Observations.from_dict(json.loads(json.dumps(between.to_dict()))) == between


def test_a_reading_that_ran_backwards_is_refused():
    with pytest.raises(ValueError, match="earlier"):
        Observations(requests=1) - Observations(requests=2)


def test_quantiles_are_read_off_the_buckets():
    tenth = SECONDS_BUCKETS.index(0.1)
    seen = timed(*[0.1] * 98, 0.12, 0.12)
    assert seen.quantile(0.5) == pytest.approx(0.08 + 0.02 * 50 / 98)
    assert seen.quantile(0.99) == pytest.approx(0.1 + 0.025 / 2)
    assert seen.slower_than(tenth) == 2
    assert seen.slower_than(tenth + 1) == 0
    assert Observations().quantile(0.5) is None
    content = seen.to_dict()
    assert (content["p50"], content["p99"]) == (seen.quantile(0.5), seen.quantile(0.99))
    assert timed(99.0).quantile(0.5) == SECONDS_BUCKETS[-1]


@given(st.lists(st.floats(0.0011, 29.0), min_size=1, max_size=60), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds, share):
    found = timed(*seconds).quantile(share)
    rank = next(k for k in range(1, len(seconds) + 1) if k >= share * len(seconds))
    bucket = bisect_left(SECONDS_BUCKETS, sorted(seconds)[rank - 1])
    assert (SECONDS_BUCKETS[bucket - 1] if bucket else 0) <= found <= SECONDS_BUCKETS[bucket]
