import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.records.explanation import text_of, words_of
from components.shared.records.text import clean_text


def told(text, offsets, **options):
    """Words with their numbers, where the n-th token adds n."""
    words, unread = words_of(text, offsets, np.arange(1.0, len(offsets) + 1), **options)
    return [(word.text, word.attribution) for word in words], unread


def test_a_word_keeps_its_punctuation_and_adds_up_its_tokens():
    assert told("I don't, no", [(0, 1), (2, 5), (5, 6), (6, 7), (7, 8), (9, 11)]) == (
        [("I", 1), ("don't,", 2 + 3 + 4 + 5), ("no", 6)],
        "",
    )


def test_a_tokenizer_may_count_the_space_to_the_word_behind_it():
    assert told("so soft", [(0, 2), (2, 7)])[0] == [("so", 1), ("soft", 2)]


def test_what_no_token_stands_for_adds_nothing():
    assert told("a \u200d b", [(0, 1), (4, 5)])[0] == [("a", 1), ("\u200d", 0), ("b", 2)]
    assert told("\u200d", []) == ([("\u200d", 0)], "")


def test_scripts_without_spaces_are_split_at_tokens():
    words, _ = words_of("OK 很好 a", [(0, 2), (3, 4), (4, 5), (6, 7)], np.ones(4))
    assert [(word.text, word.joined) for word in words] == [
        *(("OK", False), ("很", False), ("好", True), ("a", False)),
    ]
    assert text_of(words) == "OK 很好 a"


def test_a_text_that_is_cut_says_what_was_not_read():
    assert told("very embroidered top", [(0, 4), (5, 7)], truncated=True) == (
        [("very", 1), ("em", 2)],
        "broidered top",
    )
    assert told("very soft", [], truncated=True) == ([], "very soft")


pieces = st.lists(
    st.text(st.sampled_from("ab. ,很のก👗\u200d"), min_size=1, max_size=4), max_size=8
)


@given(pieces, st.booleans(), st.integers(0, 8))
def test_nothing_of_a_text_or_of_its_numbers_is_lost(parts, spaced, read):
    """Whatever a tokenizer cuts the text into, and wherever it ends."""
    text = clean_text("".join(parts))
    offsets, place = [], 0
    for part in parts:
        end = min(len(text), place + len(part))
        if text[place:end].strip():
            offsets.append((place, end))
        place = end
    kept = offsets[:read]
    words, unread = words_of(text, kept, np.ones(len(kept)), truncated=kept != offsets)
    assert sum(word.attribution for word in words) == pytest.approx(len(kept))
    assert (text_of(words) + unread).replace(" ", "") == text.replace(" ", "")
    assert all(word.text == word.text.strip() != "" for word in words)
