import numpy as np
import pytest

from components.evaluation.explanations.deletion import SHARES, deletion_test
from components.shared.records.explanation import Explanation, Word

BAD = ("awful", "itchy")


def explanation(text, weight=lambda word: 1.0 if word in BAD else 0.0, probability=0.9):
    words = tuple(Word(word, weight(word)) for word in text.split())
    chances = {"negative": probability, "positive": 1 - probability}
    return Explanation("negative", 0, chances, words, "", 0.0, 1.0)


def by_bad_words(texts):
    """Sure of the negative class by the bad words that are left."""
    left = np.array([sum(word in BAD for word in text.split()) for text in texts])
    negative = 0.3 + 0.3 * left
    return np.column_stack([negative, 1 - negative])


REVIEWS = [f"{' '.join(['word'] * before)} awful it is itchy" for before in range(6, 26)]


def test_deleting_the_words_that_it_rests_on_changes_the_answer_and_others_do_not():
    found = deletion_test([explanation(text) for text in REVIEWS], by_bad_words)
    assert found["reviews"] == 20
    assert found["low"] <= found["value"] <= found["high"]
    assert found["value"] > 0.4 > 0.2 > found["random"] > 0
    half = found["curve"][-1]
    assert half["drop"]["value"] == pytest.approx(0.6)
    assert [point["share"] for point in found["curve"]] == list(SHARES)


def test_an_order_upside_down_is_worse_than_chance():
    upside_down = [explanation(text, lambda word: -float(word in BAD)) for text in REVIEWS]
    found = deletion_test(upside_down, by_bad_words)
    assert found["value"] < found["random"]


def test_a_model_that_ignores_the_text_gives_nothing():
    found = deletion_test(
        [explanation(text) for text in REVIEWS], lambda texts: np.tile([0.9, 0.1], (len(texts), 1))
    )
    assert [found[name] for name in ("value", "low", "high", "random")] == pytest.approx([0] * 4)


def test_a_single_word_has_no_share_to_delete_and_no_review_is_emptied():
    asked = []

    def remember(texts):
        asked.extend(texts)
        return np.tile([0.5, 0.5], (len(texts), 1))

    found = deletion_test([explanation("awful"), explanation("it itchy")], remember)
    assert found["reviews"] == 1
    assert asked[: len(SHARES)] == ["it"] * len(SHARES)
    assert all(asked)


def test_without_a_review_to_test_there_is_no_number():
    found = deletion_test([explanation("awful")], None)
    assert found == {**dict.fromkeys(("value", "low", "high", "random")), "reviews": 0, "curve": []}
