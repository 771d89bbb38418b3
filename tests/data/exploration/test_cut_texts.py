import numpy as np
import pytest

from components.data.exploration.cut_texts import cut_texts


def lengths_of(*values):
    return np.bincount(np.concatenate([np.atleast_1d(value) for value in values]), minlength=1000)


RANDOM = np.random.default_rng(0)
USUAL = np.minimum(RANDOM.gamma(4, 60, 4000).astype(int) + 20, 470)
SHORT = RANDOM.gamma(4, 60, 4000).astype(int) + 20


def test_a_pile_at_the_longest_texts_is_a_limit():
    lengths = lengths_of(SHORT[SHORT < 495], [498] * 60, [500] * 500, [501] * 90, [508])
    open_ends = lengths_of([498] * 60, [500] * 400, [30] * 5)
    found = cut_texts(lengths, open_ends)
    assert found["limit"] == 500
    assert found["texts"] == pytest.approx(650, abs=25)
    assert found["share"] == found["texts"] / lengths.sum()
    assert found["open_ends"] == pytest.approx(460 / 650, abs=0.05)
    assert found["open_ends_of_others"] < 0.01


def test_texts_that_grow_rarer_with_their_length_are_not_cut():
    assert cut_texts(lengths_of(SHORT), lengths_of(SHORT)) is None


def test_a_frequent_length_that_others_go_beyond_is_no_limit():
    lengths = lengths_of(SHORT[SHORT < 495], [500] * 500, np.repeat(np.arange(511, 541), 10))
    assert cut_texts(lengths, lengths) is None


def test_texts_of_any_length_up_to_the_longest_are_not_cut():
    lengths = lengths_of(np.repeat(np.arange(100, 501), 10), np.repeat(np.arange(491, 501), 15))
    assert cut_texts(lengths, lengths) is None


def test_many_short_texts_alike_are_not_cut():
    assert cut_texts(lengths_of(SHORT, [4] * 3000), lengths_of([4])) is None


def test_short_texts_made_alike_are_not_cut():
    assert cut_texts(lengths_of([36] * 50, [37] * 500), lengths_of([37] * 500)) is None


@pytest.mark.parametrize("values", [[], [7], [7] * 20, range(1, 20), [1, 999]])
def test_too_few_texts_show_no_limit(values):
    lengths = lengths_of(np.array(values, int))
    assert cut_texts(lengths, lengths) is None


def test_all_texts_at_the_limit_leave_no_others():
    found = cut_texts(lengths_of([140] * 100), lengths_of([140] * 50))
    assert (found["share"], found["open_ends"], found["open_ends_of_others"]) == (1.0, 0.5, None)
