import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.inference import shared_width
from components.training.loop.data import drop_tokens, epoch_batches, length_batches, padded

rows = st.lists(st.tuples(st.integers(2, 200), st.integers(0, 4)), min_size=1, max_size=300)


def rows_of(lengths):
    """Row r holds the tokens 1000 r, 1000 r + 1, ..."""
    return [1000 * row + np.arange(length) for row, length in enumerate(lengths)]


@given(rows, st.integers(1, 40), st.integers(0, 5))
def test_each_epoch_has_as_many_batches_and_each_row_as_often_as_its_copies(
    found, batch_size, seed
):
    lengths, copies = map(np.array, zip(*found, strict=True))
    epochs = [epoch_batches(lengths, copies, batch_size, seed, epoch) for epoch in range(3)]
    assert len({len(batches) for batches in epochs}) == 1
    for batches in epochs:
        assert all(0 < len(batch) <= batch_size for batch in batches)
        shown = np.concatenate(batches) if batches else np.array([], dtype=int)
        assert np.array_equal(np.bincount(shown, minlength=len(lengths)), copies)


def test_batches_repeat_with_the_seed_and_differ_between_epochs_and_seeds():
    lengths = np.arange(2, 202)
    copies = np.ones(200, dtype=int)

    def order(seed, epoch):
        return [tuple(batch) for batch in epoch_batches(lengths, copies, 8, seed, epoch)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_little_is_padded_on_lengths_like_those_of_reviews():
    random = np.random.default_rng(0)
    lengths = np.clip(random.normal(80, 35, size=20_000), 5, 160).astype(int)
    batches = epoch_batches(lengths, np.ones(len(lengths), dtype=int), 32, seed=0, epoch=0)
    computed = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert computed / lengths.sum() < 1.05


@given(rows, st.integers(1, 40))
def test_reading_in_order_of_length_reads_each_row_once(found, batch_size):
    lengths = np.array([length for length, _ in found])
    shown = np.concatenate(length_batches(lengths, batch_size))
    assert sorted(shown) == list(range(len(lengths)))
    assert np.all(np.diff(lengths[shown]) >= 0)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=20), st.integers(0, 90))
def test_padding_keeps_the_tokens_and_masks_the_rest(lengths, beyond):
    chosen, widest = rows_of(lengths)[::-1], max(lengths) + beyond
    tokens, mask = padded(chosen, pad_id=7, widest=widest)
    assert (mask is None) == (min(lengths) == tokens.shape[1])
    mask = np.ones_like(tokens) if mask is None else mask
    assert tokens.shape == mask.shape == (len(lengths), shared_width(max(lengths), widest))
    for line, seen, row in zip(tokens, mask, chosen, strict=True):
        assert np.array_equal(line[seen == 1], row)
        assert np.all(line[seen == 0] == 7)


def test_token_dropout_keeps_order_and_special_tokens_and_drops_its_share():
    sequences = drop_tokens(rows_of([200] * 50), 0.25, np.random.default_rng(0))
    for row, sequence in enumerate(sequences):
        kept = sequence - 1000 * row
        assert (kept[0], kept[-1]) == (0, 199)
        assert np.all(np.diff(kept) > 0)
    assert sum(map(len, sequences)) / (50 * 200) == pytest.approx(0.75, abs=0.02)
