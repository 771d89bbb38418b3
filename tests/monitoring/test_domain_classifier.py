import numpy as np
import pytest

from components.monitoring.domain_classifier import compare_texts

WORDS = [f"word{n}" for n in range(300)]


def texts(rows, seed, more=(), share=0.0):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(rows):
        words = [*random.choice(WORDS, 12)]
        if random.random() < share:
            words += [*random.choice(more, 2)]
        made.append(" ".join(words))
    return made


def test_new_words_are_found_and_told():
    found = compare_texts(texts(1500, 0), texts(1500, 1, ["zipper", "velcro"], share=0.3))
    assert found.p < 1e-6
    assert found.effect > 0.1
    assert set(found.new_words[:2]) == {"zipper", "velcro"}
    assert "zipper" in found.words


@pytest.mark.parametrize("seed", range(3))
def test_texts_that_repeat_are_no_drift(seed):
    """A random split would learn the repeated ones by heart and find an AUC of .6."""
    random = np.random.default_rng(seed)
    known = texts(1500, seed)
    live = [known[place] for place in random.integers(0, 600, 20_000)] + texts(900, seed + 50)
    assert compare_texts(known + texts(500, seed + 10), live).p > 0.001


def test_a_text_is_in_one_half_whichever_source_it_is_of():
    """Else the half that is judged would hold what was learned of the other source."""
    known = texts(1500, 0)
    assert compare_texts(known, known).p == pytest.approx(0.5, abs=0.02)


def test_few_texts_are_not_compared():
    assert "too few different texts: 3 kept" in compare_texts(texts(1000, 0), ["a", "b", "c"] * 500)


def test_texts_without_a_word_are_no_error():
    strange = [f"{'!' * (n % 50)}{'?' * (n // 50)}" for n in range(1, 2000)]
    found = compare_texts(texts(1000, 0), strange)
    assert found.p < 0.01
    assert found.new_words == []
