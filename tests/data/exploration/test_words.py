import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from components.data.exploration.words import log_odds, telling_words
from components.shared.records.labels import SENTIMENTS, LabelSet

two_classes = st.integers(2, 8).flatmap(
    lambda n: arrays(np.int64, (2, n), elements=st.integers(1, 99))
)


@given(two_classes)
def test_what_tells_one_of_two_classes_tells_against_the_other(counts):
    odds, errors = log_odds(counts)
    assert odds[0] == pytest.approx(-odds[1])
    assert errors[0] == pytest.approx(errors[1])
    assert np.isfinite(odds).all()


@given(two_classes, st.integers(2, 5))
def test_more_reviews_of_the_same_kind_are_more_certain(counts, times):
    (odds, errors), (more_odds, smaller) = (log_odds(each, 50) for each in (counts, times * counts))
    assert (smaller < errors).all()
    assert (np.abs(more_odds) >= np.abs(odds) - 1e-9).all(), "the prior weighs less"


def test_agrees_with_the_formula_of_the_paper():
    counts, prior = np.array([[30, 70], [10, 190]]), 60
    alpha = prior * counts.sum(axis=0) / counts.sum()
    y, n = counts + alpha, counts.sum(axis=1) + prior
    expected = np.log(y[0] / (n[0] - y[0])) - np.log(y[1] / (n[1] - y[1]))
    odds, errors = log_odds(counts, prior)
    assert odds[0] == pytest.approx(expected)
    assert errors[0] == pytest.approx(np.sqrt(1 / y[0] + 1 / y[1]))


def test_a_class_without_reviews_has_nothing_to_tell():
    odds, errors = log_odds(np.array([[3, 4], [0, 0]]))
    assert (odds == 0).all()
    assert np.isinf(errors).all()


def test_words_of_a_class_come_first_and_what_all_say_not_at_all():
    texts = ["The lovely dress", "The awful dress", "The plain dress"] * 300
    found = telling_words(texts, np.array([2, 0, 1] * 300), SENTIMENTS)
    assert {name: [word["word"] for word in each] for name, each in found.items()} == {
        "negative": ["awful"],
        "neutral": ["plain"],
        "positive": ["lovely"],
    }
    (word,) = found["negative"]
    assert (word["reviews"], word["reviews_elsewhere"]) == (300, 0)
    assert 0 < word["low"] < word["log_odds"] < word["high"]


def test_a_review_that_repeats_a_word_says_it_once():
    texts = ["fine"] * 49 + ["spam " * 500, "spam"] + ["fine"] * 49
    found = telling_words(texts, np.array([0] * 50 + [1] * 50), LabelSet.parse("a b"))
    assert found == {"a": [], "b": []}


@pytest.mark.parametrize("texts", [["!!!"], ["one"], ["качество ткани", "很好的裙子"], ["a", "b"]])
def test_few_texts_in_any_language_tell_nothing(texts):
    found = telling_words(texts, np.arange(len(texts)) % 3, SENTIMENTS)
    assert found == {"negative": [], "neutral": [], "positive": []}


def test_words_in_other_scripts_tell_as_well():
    texts = ["отличное платье", "ужасное платье"] * 100
    found = telling_words(texts, np.array([1, 0] * 100), LabelSet.parse("bad good"))
    assert [word["word"] for word in found["good"]] == ["отличное"]
