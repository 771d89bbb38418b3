from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.exploration.counts import Counts, spread
from components.data.exploration.sample import Sample
from components.shared.records.labels import SENTIMENTS, LabelSet
from tests.data.exploration.conftest import DATED, as_table, review

optional_words = st.none() | st.sampled_from(["Great", "so so", "ткань", "裙子很好"])
rows = st.lists(
    st.builds(
        lambda sentiment, title, split, rating: {
            **{"sentiment": sentiment, "title": title, "split": split, "rating": rating}
        },
        st.sampled_from([-1, 0, 1]),
        optional_words,
        st.sampled_from(["train", "validation", "test"]),
        st.none() | st.integers(1, 5),
    ),
    min_size=1,
    max_size=12,
)


def counted(*tables):
    counts = Counts(SENTIMENTS)
    for table in tables:
        counts.add(table)
    return counts


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(0, 12))
def test_counts_add_up_however_the_rows_are_read(drawn, cut):
    made = [review(number, **row) for number, row in enumerate(drawn)]
    whole = counted(as_table(made)).to_dict()
    assert counted(as_table(made[:cut]), as_table(made[cut:])).to_dict() == whole
    assert sum(sum(each.values()) for each in whole["splits"].values()) == len(made)
    assert sum(part["count"] for part in whole["words"]["histogram"]) == len(made)
    words = [len(f"{row['title'] or ''} {row['review_body']}".split()) for row in made]
    assert whole["words"]["mean"] == pytest.approx(np.mean(words))
    assert whole["words"]["quantiles"]["p100"] == max(words)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(20)), st.integers(1, 20), st.integers(1, 8))
def test_a_sample_is_the_same_whatever_the_order_and_the_batches(order, batch, size):
    def sampled(numbers, batch):
        sample = Sample(size, ["review_body"])
        for start in range(0, len(numbers), batch):
            made = [review(number) for number in numbers[start : start + batch]]
            sample.add(as_table(made))
        return sample.table().to_pylist()

    assert sampled(order, batch) == sampled(range(20), 20)
    assert len(sampled(order, batch)) == size


def test_a_sample_of_all_rows_holds_each_once():
    sample = Sample(100, ["review_body"])
    sample.add(as_table([review(number) for number in range(30)]))
    assert len(set(sample.table()["review_body"].to_pylist())) == 30


def test_texts_are_new_words_their_letters_and_their_end():
    bodies = ["Fine.", "Fine", "Café!", "Мало", "裙子很好。", "Good ❤"]
    counts = counted(as_table([review(n, review_body=text) for n, text in enumerate(bodies)]))
    assert counts.to_dict()["characters"] == {"not_ascii": 4, "mostly_not_latin": 2}
    assert {int(n): int(counts.open_ends[n]) for n in np.flatnonzero(counts.open_ends)} == {4: 2}


def test_a_date_that_stands_for_none_is_left_out():
    counts = counted(as_table([review(1, rating=4), review(2, event_timestamp=DATED, rating=2)]))
    assert counts.undated == 1
    assert counts.days == Counter({(DATED.date(), 1, 2): 1})


def test_weak_labels_are_counted():
    made = [review(1), review(2, label_source="weak", label_probability=0.7)]
    assert counted(as_table(made)).to_dict()["weak_labels"] == 1


def test_other_classes_are_counted_under_their_names():
    counts = Counts(LabelSet.parse("bad good"))
    counts.add(as_table([review(sentiment=0), review(sentiment=1)]))
    assert counts.to_dict()["splits"]["train"] == {"bad": 1, "good": 1}


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=300))
def test_a_spread_counts_every_value_in_few_bins(values):
    found = spread(np.bincount(values), "words")
    assert sum(part["count"] for part in found["histogram"]) == len(values)
    assert 1 <= len(found["histogram"]) <= 21
    assert found["mean"] == pytest.approx(np.mean(values))


def test_nothing_has_no_spread():
    assert spread(np.zeros(5, int), "words")["mean"] is None
