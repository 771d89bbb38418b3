import pytest

from components.data.exploration import duplicates
from components.data.exploration.duplicates import ExactDuplicates, near_duplicates
from tests.data.exploration.conftest import as_table, review

LONG = "the waist is high and the hem falls just below the knee so that it suits a short person"


def rows(*texts_and_splits, sentiments=None):
    return as_table(
        [
            review(number, review_body=text, split=split)
            | ({"sentiment": sentiments[number]} if sentiments else {})
            for number, (text, split) in enumerate(texts_and_splits)
        ]
    )


def test_texts_are_the_same_but_for_case_marks_and_spaces():
    found = ExactDuplicates()
    found.add(rows(("Fits well.", "train"), ("fits  WELL!", "train"), ("Fits", "train")))
    assert found.to_dict() == {"repeated": 1, "across_splits": 0}
    found.add(rows(("fits", "test"), ("Fits, well", "train")))
    assert found.to_dict() == {"repeated": 3, "across_splits": 1}


def test_near_pairs_are_found_with_their_splits_and_classes():
    texts = (LONG, "train"), (f"{LONG}, and I like it", "test"), ("something else", "test")
    found = near_duplicates(rows(*texts, sentiments=(1, 0, 1)))
    assert (found["pairs"], found["across_splits"], found["of_different_classes"]) == (1, 1, 1)
    assert found["complete"]
    (pair,) = found["examples"]
    assert pair["similarity"] == pytest.approx(16 / 20)
    assert pair["splits"] == ["train", "test"]
    assert pair["texts"][0] == LONG


def test_the_same_text_twice_is_no_near_pair():
    found = near_duplicates(rows((LONG, "train"), (f"{LONG.upper()}!", "train")))
    assert found["pairs"] == 0
    assert found["examples"] == []


@pytest.mark.parametrize("text", ["!!!", "ok", "很好的裙子", "❤"])
def test_one_text_of_any_kind_has_no_pair(text):
    assert near_duplicates(rows((text, "train")))["pairs"] == 0


def test_pairs_of_similarity_one_half_are_nearly_all_found():
    words = [f"w{number}" for number in range(2_000)]
    made = []
    for start in range(0, 2_000, 40):
        # 27 runs of four words each, 18 of them in common: 18 / 36.
        first, second = words[start : start + 30], words[start + 9 : start + 39]
        made += [(" ".join(first), "train"), (" ".join(second), "test")]
    found = near_duplicates(rows(*made))
    assert found["across_splits"] == found["pairs"] >= 44
    assert found["pairs"] <= 50


def test_a_search_among_too_many_alike_ends_and_says_so(monkeypatch):
    monkeypatch.setattr(duplicates, "_MOST_COMPARED", 20)
    found = near_duplicates(rows(*[(f"{LONG} number {number}", "train") for number in range(12)]))
    assert not found["complete"]
    assert 20 < found["pairs"] < 66
