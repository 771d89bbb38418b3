import numpy as np
import pytest

from components.review.thresholds import (
    THRESHOLDS,
    below_threshold,
    chosen_threshold,
    resolved_error,
    threshold_table,
)

CONFIDENCE = np.array([0.4, 0.6, 0.6, 0.8, 0.97, 0.97, 0.97, 0.97, 0.97, 0.97])
RIGHT = np.array([False, False, True, True, True, True, True, True, True, False])


def test_volume_and_remaining_error_of_a_threshold():
    found = below_threshold(CONFIDENCE, RIGHT, 0.1, 0.7)
    assert (found.volume, found.looks) == (0.3, 1.5)
    wrong = (1 - CONFIDENCE).sum()
    assert found.found == pytest.approx((0.6 + 0.4 + 0.4) / wrong)
    assert found.remaining == pytest.approx((0.2 + 6 * 0.03) / 10 + 0.1 * 0.3)
    assert found.remaining_seen == pytest.approx(0.1 + 0.03)
    assert found.error_below == pytest.approx(2 / 3)


def test_without_an_answer_below_it_a_threshold_changes_nothing():
    found = below_threshold(CONFIDENCE, RIGHT, 0.1, 0.3)
    assert (found.volume, found.found, found.error_below, found.looks) == (0, 0, 0, None)
    assert found.remaining_seen == pytest.approx(0.3)


def test_the_lowest_threshold_that_finds_half_of_the_errors_is_chosen():
    table = threshold_table(CONFIDENCE, RIGHT, 0.0)
    chosen = chosen_threshold(table)
    assert [row.threshold for row in table] == list(THRESHOLDS)
    assert chosen.threshold == 0.65
    before = table[[row.threshold for row in table].index(0.65) - 1]
    assert before.found < 0.5 <= chosen.found


def test_a_model_that_is_sure_of_all_it_says_gets_the_last_threshold():
    sure = np.full(10, 0.999)
    assert chosen_threshold(threshold_table(sure, RIGHT, 0.0)).threshold == THRESHOLDS[-1]


@pytest.mark.parametrize(("people", "expected"), [(1, 0.1), (2, 0.1), (3, 0.028), (5, 0.00856)])
def test_a_majority_errs_more_seldom_than_one_person(people, expected):
    assert resolved_error(0.1, people) == pytest.approx(expected, rel=1e-3)
