import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation import error_analysis as analysis
from components.evaluation.held_out import HeldOut


def test_scores_are_those_of_the_rows():
    names = np.array(["a"] * 40 + ["b"] * 40)
    truth = np.tile([0, 1, 2, 2], 20)
    predicted = truth.copy()
    predicted[:10] = (truth[:10] + 1) % 3
    first, second = analysis.slice_scores(truth, predicted, names, 3)
    assert (first["name"], first["rows"], first["accuracy"]["value"]) == ("a", 40, 0.75)
    assert (second["name"], second["accuracy"]["value"]) == ("b", 1.0)
    assert first["supports"] == [10, 10, 20]


def test_small_slices_are_pooled_last():
    names = ["big"] * 50 + ["tiny"] * 3 + ["other"] * 40 + ["small"] * 5
    truth = np.zeros(len(names), dtype=int)
    entries = analysis.slice_scores(truth, truth, names, 3)
    found = [(e["name"], e["rows"], e["pooled"]) for e in entries]
    assert found == [("big", 50, 0), ("other", 48, 2)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=80))
def test_length_buckets_cover_in_order_and_hold_their_rows(tokens):
    names = analysis.length_slices(np.array(tokens, dtype=np.int64))
    assert len(names) == len(tokens)
    for count, name in zip(tokens, names, strict=True):
        words = name.removesuffix(" tokens").split(" to ")
        assert int(words[0]) <= count <= int(words[-1])
    assert len(set(names)) <= 4


def test_length_buckets_are_quarters():
    names = analysis.length_slices(np.arange(1, 401))
    assert [names.count(name) for name in dict.fromkeys(names)] == [100] * 4


def test_no_rows_no_slices():
    empty = np.empty(0, dtype=int)
    assert analysis.slice_scores(empty, empty, [], 3) == []
    assert analysis.length_slices(empty) == []


def judged(*truth):
    count = len(truth)
    reviews = pa.table(
        {
            "review_id": [f"r{i}" for i in range(count)],
            "title": [None] * count,
            "review_body": ["word " * 1000] + ["fine"] * (count - 1),
            "product_category": ["Dresses"] * count,
            "rating": pa.array([None] * count, pa.int32()),
        }
    )
    return HeldOut([[1]] * count, np.array(truth), reviews)


def test_surest_mistake_first_and_right_rows_left_out():
    chances = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]])
    entries = analysis.worst_mistakes(judged(1, 0, 0, 2), np.array([0, 1, 2, 2]), chances, most=10)
    assert [entry["review_id"] for entry in entries] == ["r1", "r0", "r2"]
    assert entries[0]["probability"] == 0.9
    assert entries[0]["probability_of_truth"] == 0.05
    assert (entries[0]["truth"], entries[0]["predicted"]) == ("negative", "neutral")
    assert len(entries[1]["review_body"]) == analysis.LONGEST_TEXT + 1


def test_at_most_the_requested_number_and_none_if_all_is_right():
    chances = np.full((6, 3), 1 / 3)
    test = judged(*[0] * 6)
    assert len(analysis.worst_mistakes(test, test.classes + 1, chances, most=2)) == 2
    assert analysis.worst_mistakes(test, test.classes, chances) == []
