import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data.balance import BALANCES, copies_for_balance


def shown(classes, copies):
    return np.bincount(classes, weights=copies, minlength=3).astype(int).tolist()


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=80),
    st.sampled_from(BALANCES),
    st.randoms(use_true_random=False),
)
def test_classes_come_out_even(rows, balance, rng):
    rows = [*rows, (0, 0), (1, 1), (2, 2)]  # every class occurs, perhaps in one category each
    classes = np.array([c for c, _ in rows], np.int8)
    categories = np.array([k for _, k in rows], np.int32)
    order = np.array(rng.sample(range(2**62), len(rows)), np.uint64)  # no two rows alike
    copies = copies_for_balance(classes, categories, order, balance)
    counts = np.bincount(classes)
    if balance == "none":
        assert (copies == 1).all()
        return
    assert len(set(shown(classes, copies))) == 1
    if balance == "undersample":
        assert shown(classes, copies)[0] == counts.min()
    if balance == "oversample":
        assert shown(classes, copies)[0] == counts.max()
    if balance.startswith("under"):
        assert copies.max() == 1
    else:
        assert copies.min() >= 1
    shuffled = list(range(len(rows)))
    rng.shuffle(shuffled)
    again = copies_for_balance(classes[shuffled], categories[shuffled], order[shuffled], balance)
    assert (again == copies[shuffled]).all()


def test_each_complete_category_is_balanced_by_itself():
    # Category 0 has 4, 2, 6; category 1 has 1, 1, 3; category 2 lacks a class.
    cells = {(0, 0): 4, (0, 1): 2, (0, 2): 6, (1, 0): 1, (1, 1): 1, (1, 2): 3, (2, 2): 5}
    cells = [cell for cell, n in cells.items() for _ in range(n)]
    categories = np.array([k for k, _ in cells], np.int32)
    classes = np.array([c for _, c in cells], np.int8)
    order = np.arange(len(cells), dtype=np.uint64)
    # Category 2 joins the largest, 0, where class 2 has 6 + 5 then.
    for way, alone, joined in (("oversample", 3, 11), ("undersample", 1, 2)):
        copies = copies_for_balance(classes, categories, order, f"{way}_by_category")
        for rows, count in ((categories == 1, alone), (categories != 1, joined)):
            assert shown(classes[rows], copies[rows]) == [count] * 3
