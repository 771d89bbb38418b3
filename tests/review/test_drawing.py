import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.review.drawing import (
    LEAST_UNCERTAINTY,
    coins,
    either,
    inclusion_probabilities,
    uncertainty,
)

sizes = st.lists(st.floats(0.05, 0.5), min_size=1, max_size=50).map(np.array)


def test_an_even_chance_is_most_uncertain_and_nobody_is_certain():
    found = uncertainty(np.array([0.5, 0.9, 1.0, 0.0]))
    assert found == pytest.approx([0.5, 0.3, LEAST_UNCERTAINTY, LEAST_UNCERTAINTY])


@given(sizes, st.floats(0.01, 60))
def test_probabilities_follow_the_sizes_and_add_up_to_what_is_expected(sizes, expected):
    found = inclusion_probabilities(sizes, expected)
    assert (found > 0).all()
    assert (found <= 1).all()
    assert found.sum() == pytest.approx(min(expected, len(sizes)))
    below = found < 1 - 1e-9
    ratios = found[below] / sizes[below]
    assert np.allclose(ratios, ratios[:1] if len(ratios) else ratios)


def test_coins_are_even_and_the_same_for_the_same_row_whatever_others_there_are():
    names = [f"review {number}" for number in range(5_000)]
    thrown = coins(names, "monday", 1)
    assert coins(names[3:9], "monday", 1) == pytest.approx(thrown[3:9])
    for low in np.arange(0, 1, 0.1):
        share = ((thrown >= low) & (thrown < low + 0.1)).mean()
        assert share == pytest.approx(0.1, abs=0.02)
    for other in (coins(names, "tuesday", 1), coins(names, "monday", 2)):
        assert abs(np.corrcoef(thrown, other)[0, 1]) < 0.05


def test_two_draws_together_find_what_either_finds():
    random = np.random.default_rng(0)
    first, second = random.random(20_000) < 0.3, random.random(20_000) < 0.2
    expected = either(np.array([0.3]), np.array([0.2]))[0]
    assert (first | second).mean() == pytest.approx(expected, abs=0.015)
