from components.shared.records.known_words import (
    KNOWN_WORDS,
    known_words,
    read_known_words,
    words_of,
    write_known_words,
)


def test_a_word_is_known_once_five_reviews_hold_it_in_lower_case():
    texts = ["soft soft Grace"] * 4 + ["Soft and nice"]
    assert known_words(texts) == set()
    assert known_words([*texts, "so soft"]) == {"soft"}
    assert known_words(texts, k=1) == {"soft", "and", "nice"}  # "Grace" never in lower case.


def test_words_are_letters_with_apostrophes_inside():
    text = "I don't, 'really' \N{LEFT SINGLE QUOTATION MARK}love\N{RIGHT SINGLE QUOTATION MARK} it"
    assert words_of(text) == ["I", "don't", "really", "love", "it"]
    assert words_of("didn\N{RIGHT SINGLE QUOTATION MARK}t 5'4 a_b Größe!") == [
        *("didn't", "a", "b", "Größe")
    ]


def test_the_list_is_read_back_and_older_folders_have_none(tmp_path):
    assert read_known_words(tmp_path) is None
    write_known_words(tmp_path, {"b", "größe", "a"})
    assert (tmp_path / KNOWN_WORDS).read_bytes() == "a\nb\ngröße\n".encode()
    assert read_known_words(tmp_path) == {"a", "b", "größe"}
    write_known_words(tmp_path, ())
    assert read_known_words(tmp_path) == frozenset()
