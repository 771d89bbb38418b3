import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.data.ingest import UNDATED
from components.data.profile import Profile
from components.shared.records.reviews import REVIEW_SCHEMA


def table(rows):
    base = {"review_id": "x", "review_body": "text", "event_timestamp": UNDATED}
    return pa.Table.from_pylist([{**base, **row} for row in rows], schema=REVIEW_SCHEMA)


def test_counts_add_up_over_batches():
    profile = Profile()
    profile.add(table([{"rating": 5, "sentiment": 1, "product_category": "A", "age": 30}] * 3))
    profile.add(table([{"rating": 1, "sentiment": -1, "product_category": "A"}, {}]))
    seen = profile.to_dict()
    assert [r["count"] for r in seen["ratings"]] == [1, 0, 0, 0, 3]
    assert seen["sentiments"] == {"negative": 1, "neutral": 0, "positive": 3}
    assert seen["unlabelled"] == 1
    counts = {"negative": 1, "neutral": 0, "positive": 3}
    assert seen["categories"][0] == {"category": "A", "count": 4, "classes": counts}
    assert (seen["missing"]["age"], seen["missing"]["title"]) == (2, 5)
    assert seen["age"]["histogram"][2] == {"from": 30, "below": 40, "count": 3}


@given(st.lists(st.integers(1, 6_000), min_size=1, max_size=60))
def test_quantiles_are_those_of_the_lengths(lengths):
    profile = Profile()
    profile.add(table([{"review_body": "x" * n} for n in lengths]))
    seen = profile.to_dict()["text_length"]
    for name, value in seen["quantiles"].items():
        share = float(name[1:]) / 100
        assert value == np.quantile(lengths, share, method="inverted_cdf")
    assert sum(part["count"] for part in seen["histogram"]) == len(lengths)
