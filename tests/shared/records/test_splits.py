import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.records import splits as dividing

SHARES = {"validation_share": 0.1, "test_share": 0.1}


def keys(texts, seed=42):
    return np.array([dividing.keyed_order(str(t), seed) for t in texts], np.uint64)


def classes(*counts):
    return np.repeat(np.arange(3, dtype=np.int8), counts)


def test_quotas_are_exact_where_texts_do_not_repeat():
    y = classes(104, 125, 771)
    splits = dividing.assign_splits(keys(range(1000)), y, **SHARES)
    for split in (dividing.TEST, dividing.VALIDATION):
        assert np.bincount(y[splits == split]).tolist() == [10, 12, 77]
    assert (dividing.assign_splits(keys(range(1000), seed=1), y, **SHARES) != splits).any()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 60), min_size=120, max_size=250),
    st.integers(-(2**40), 2**40),
    st.randoms(use_true_random=False),
)
def test_no_leak_and_no_dependence_on_order(texts, seed, rng):
    # Thirty texts of each class for sure, and others that repeat, also across classes.
    texts = [*range(1_000, 1_090), *texts]
    y = np.array([i % 3 for i in range(90)] + [rng.randrange(3) for _ in texts[90:]], np.int8)
    hashed = keys(texts, seed)
    splits = dividing.assign_splits(hashed, y, **SHARES)
    split_of = dict(zip(texts, splits, strict=True))
    assert splits.tolist() == [split_of[text] for text in texts]
    for split in (dividing.TRAIN, dividing.VALIDATION, dividing.TEST):
        assert set(y[splits == split]) == {0, 1, 2}
    order = list(range(len(texts)))
    rng.shuffle(order)
    again = dividing.assign_splits(hashed[order], y[order], **SHARES)
    assert (again == splits[order]).all()


def test_a_text_that_many_wrote_lands_in_train():
    texts = keys([*range(300), *["nice"] * 200])
    y = np.concatenate([classes(100, 100, 100), np.full(200, 2, np.int8)])
    splits = dividing.assign_splits(texts, y, **SHARES)
    assert set(splits[300:]) == {dividing.TRAIN}
    assert (splits == dividing.TEST).sum() == 50


def test_most_rows_stay_in_their_split_while_the_data_grow():
    y = np.tile(np.array([0, 1, 2], np.int8), 1_100)
    small = dividing.assign_splits(keys(range(3_000)), y[:3_000], **SHARES)
    grown = dividing.assign_splits(keys(range(3_300)), y, **SHARES)
    assert (small == grown[:3_000]).mean() > 0.96
    tested = small == dividing.TEST
    assert (grown[:3_000][tested] == dividing.TEST).mean() > 0.9


@pytest.mark.parametrize("counts", [(0, 50, 50), (3, 3, 4), (9, 100, 100)])
def test_too_few_texts_of_a_class_raise_an_error(counts):
    with pytest.raises(UserError, match=f"{counts[0]} negative, {counts[1]} neutral"):
        dividing.assign_splits(keys(range(sum(counts))), classes(*counts), **SHARES)
    # One that repeats counts once.
    with pytest.raises(UserError, match="1 negative"):
        dividing.assign_splits(keys([*["same"] * 50, *range(100)]), classes(50, 50, 50), **SHARES)


def test_ten_texts_of_a_class_suffice_and_give_every_split_one():
    y = classes(dividing.MIN_TEXTS_PER_CLASS, 50, 50)
    hashed = keys(range(len(y)))
    splits = dividing.assign_splits(hashed, y, validation_share=0.2, test_share=0.01)
    assert np.bincount(splits[y == 0]).tolist() == [7, 2, 1]
    in_order = splits[y == 0][np.argsort(hashed[y == 0])]
    assert in_order[:3].tolist() == [dividing.TEST, dividing.VALIDATION, dividing.VALIDATION]


def test_the_order_of_texts_is_the_same_in_every_process_and_version():
    # Written down: another number would move the rows of every data set to other splits.
    assert dividing.keyed_order("fits well", 42) == 3448346005592858238
    assert dividing.keyed_order("fits well", -1) == 7030421029232214000


@pytest.mark.parametrize("share", [0.0, -0.1, 0.41, 1.0, float("nan")])
def test_shares_out_of_bounds_raise_an_error(share):
    for name in SHARES:
        with pytest.raises(UserError, match=f"^{name} is"):
            dividing.assign_splits(keys(range(60)), classes(20, 20, 20), **SHARES | {name: share})


def test_case_and_punctuation_do_not_make_another_text():
    same = [("Love it!", "love  IT"), ("so-so", "So so."), ("Straße", "STRASSE"), ("it's", "its")]
    for one, other in same:
        assert dividing.text_identity(one) == dividing.text_identity(other)
    for one, other in (("👍", "👎"), ("!!", "??"), ("a1", "a2"), ("é", "e")):
        assert dividing.text_identity(one) != dividing.text_identity(other)


@given(st.text(st.characters(max_codepoint=127), min_size=1))
def test_the_fast_way_for_ascii_is_the_same(text):
    # A letter that is not ASCII sends the text the general way.
    assert dividing.text_identity(text + "xé") == dividing.text_identity(text + "x") + "é"
