"""Slices: none lost, small ones pooled, scores those of their rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.evaluation.slices import length_slices, slice_scores


def test_scores_are_those_of_the_rows():
    names = np.array(["a"] * 40 + ["b"] * 40)
    truth = np.tile([0, 1, 2, 2], 20)
    predicted = truth.copy()
    predicted[:10] = (truth[:10] + 1) % 3
    first, second = slice_scores(truth, predicted, names, 3)
    assert (first["name"], first["rows"], first["accuracy"]["value"]) == ("a", 40, 0.75)
    assert (second["name"], second["accuracy"]["value"]) == ("b", 1.0)
    assert first["supports"] == [10, 10, 20]


def test_small_slices_are_pooled_last():
    names = ["big"] * 50 + ["tiny"] * 3 + ["other"] * 40 + ["small"] * 5
    truth = np.zeros(len(names), dtype=int)
    entries = slice_scores(truth, truth, names, 3)
    assert [(e["name"], e["rows"], e["pooled"]) for e in entries] == [
        ("big", 50, 0),
        ("other", 48, 2),
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 200), max_size=80))
def test_length_buckets_cover_in_order_and_hold_their_rows(tokens):
    names = length_slices(np.array(tokens, dtype=np.int64))
    assert len(names) == len(tokens)
    for count, name in zip(tokens, names, strict=True):
        words = name.removesuffix(" tokens").split(" to ")
        assert int(words[0]) <= count <= int(words[-1])
    assert len(set(names)) <= 4


def test_length_buckets_are_quarters():
    names = length_slices(np.arange(1, 401))
    assert [names.count(name) for name in dict.fromkeys(names)] == [100] * 4


def test_no_rows_no_slices():
    empty = np.empty(0, dtype=int)
    assert slice_scores(empty, empty, [], 3) == []
    assert length_slices(empty) == []


def test_interval_of_a_slice_is_wider_than_that_of_the_whole():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 600)
    predicted = np.where(generator.random(600) < 0.8, truth, (truth + 1) % 3)
    whole = slice_scores(truth, predicted, ["all"] * 600, 3)[0]["accuracy"]
    part = slice_scores(truth, predicted, ["all"] * 560 + ["part"] * 40, 3)[1]["accuracy"]
    assert part["high"] - part["low"] > 2 * (whole["high"] - whole["low"])
    assert whole["value"] == pytest.approx((truth == predicted).mean())
