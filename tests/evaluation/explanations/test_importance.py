import pytest

from components.evaluation.explanations.importance import MOST_WORDS, important_words
from components.shared.records.explanation import Explanation, Word


def explanation(label_id, *words):
    return Explanation("x", label_id, {"x": 1.0}, tuple(Word(*pair) for pair in words), "", 0, 0)


def test_words_are_counted_whatever_their_letters_and_punctuation():
    answers = [
        explanation(0, ("Poor", 1.0), ("it", -0.1)),
        explanation(0, ("poor,", 2.0), ("it", 0.1)),
        explanation(0, ("(poor)", 3.0), ("poor!", 2.0), ("it", -0.3), ("-", 9.0)),
        explanation(1, ("poor", -5.0)),
    ]
    first, second, third = important_words(answers, ["bad", "good", "absent"])
    assert (first["name"], first["reviews"]) == ("bad", 3)
    assert first["words"] == [
        {"word": "poor", "mean": 2.0, "count": 4, "reviews": 3},
        {"word": "it", "mean": pytest.approx(-0.1), "count": 3, "reviews": 3},
    ]
    assert second == {"name": "good", "reviews": 1, "words": []}
    assert third == {"name": "absent", "reviews": 0, "words": []}


def test_neither_a_frequent_nor_a_rare_word_comes_first_by_that_alone_and_the_list_ends():
    rare, often, always = ("rare", 1.0), ("often", -1.0), ("the", 0.1)
    answers = [explanation(0, *(rare, often) if n < 3 else (often,), always) for n in range(40)]
    (told,) = important_words(answers, ["x"])
    assert [word["word"] for word in told["words"]] == ["often", "rare", "the"]
    many = [explanation(0, *((f"w{n}", 1.0) for n in range(50)))] * 3
    assert len(important_words(many, ["x"])[0]["words"]) == MOST_WORDS
