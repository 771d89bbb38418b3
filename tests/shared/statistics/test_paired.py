from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.statistics.paired import mcnemar_p_value


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_twice_the_binomial_tail(first, second):
    total = first + second
    tail = sum(comb(total, k) for k in range(min(first, second) + 1)) / 2**total
    assert mcnemar_p_value(first, second) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_by_hand():
    assert mcnemar_p_value(5, 0) == pytest.approx(2 / 32)
    assert mcnemar_p_value(8, 1) == pytest.approx(2 * (1 + 9) / 512)
    assert mcnemar_p_value(0, 0) == 1
