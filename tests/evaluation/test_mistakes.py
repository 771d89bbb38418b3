"""The list of mistakes: wrong ones only, surest first, long texts cut."""

import numpy as np
import pyarrow as pa

from components.evaluation.mistakes import LONGEST_TEXT, worst_mistakes


def reviews(count):
    return pa.table(
        {
            "review_id": [f"r{i}" for i in range(count)],
            "title": [None] * count,
            "review_body": ["word " * 1000] + ["fine"] * (count - 1),
            "product_category": ["Dresses"] * count,
            "rating": pa.array([None] * count, pa.int32()),
        }
    )


def test_surest_mistake_first_and_right_rows_left_out():
    chances = np.array([[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4], [0.0, 0.0, 1.0]])
    entries = worst_mistakes(
        reviews(4), np.array([1, 0, 0, 2]), np.array([0, 1, 2, 2]), chances, most=10
    )
    assert [entry["review_id"] for entry in entries] == ["r1", "r0", "r2"]
    assert entries[0]["probability"] == 0.9
    assert entries[0]["probability_of_truth"] == 0.05
    assert (entries[0]["truth"], entries[0]["predicted"]) == ("negative", "neutral")
    assert len(entries[1]["review_body"]) == LONGEST_TEXT + 1


def test_no_more_than_asked_and_none_where_all_is_right():
    chances = np.full((6, 3), 1 / 3)
    zeros, ones = np.zeros(6, dtype=int), np.ones(6, dtype=int)
    assert len(worst_mistakes(reviews(6), zeros, ones, chances, most=2)) == 2
    assert worst_mistakes(reviews(6), zeros, zeros, chances) == []
