import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.monitoring.alarm_budget import LARGEST_ALPHA, AlarmBudget, holm
from components.shared.machine.errors import UserError


def test_a_years_alarms_are_shared_among_its_looks():
    assert AlarmBudget(1, 365).alpha == pytest.approx(1 / 365)
    assert AlarmBudget(2, 52).alpha == pytest.approx(2 / 52)
    assert AlarmBudget(1, 4).alpha == LARGEST_ALPHA


@pytest.mark.parametrize("budget", [(0, 365), (-1, 365), (float("nan"), 365), (1, 0)])
def test_a_budget_that_makes_no_sense_is_refused(budget):
    with pytest.raises(UserError, match="_per_year is"):
        AlarmBudget(*budget)


def test_holm_corrects_as_in_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_corrected_p_values_keep_the_order_and_stay_between_p_and_bonferroni(p_values):
    corrected = holm(p_values)
    assert all(
        p <= c <= min(1, p * len(p_values)) + 1e-12
        for p, c in zip(p_values, corrected, strict=True)
    )
    pairs = sorted(zip(p_values, corrected, strict=True))
    assert [c for _, c in pairs] == sorted(corrected)
