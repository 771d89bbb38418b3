import json

import pytest

from components.deployment.judging.ab_test import AbResult, Arm, Plan, Winner, analyse_ab
from components.deployment.judging.confidence_sequence import Count
from components.shared.machine.errors import UserError


@pytest.mark.parametrize(
    "wrong",
    [
        {"smallest_effect": 0.0},
        {"smallest_effect": 0.9},
        {"baseline": 1.2},
        {"share_b": 0.0},
        {"power": 2.0},
    ],
)
def test_a_plan_that_cannot_be_is_refused_at_once(wrong):
    with pytest.raises(UserError, match="give"):
        Plan(**({"baseline": 0.85} | wrong))


PLAN = Plan(baseline=0.85, smallest_effect=0.03)


def read(
    right_a, right_b, n=2500, failed_a=10, failed_b=10, requests=(5000, 5000), plan=PLAN
) -> AbResult:
    found = analyse_ab(
        Arm("4", Count(right_a, n), Count(failed_a, requests[0])),
        Arm("5", Count(right_b, n), Count(failed_b, requests[1])),
        plan,
    )
    json.dumps(found.to_dict(), allow_nan=False)
    return found


def test_the_better_arm_wins_either_way():
    assert read(2125, 2225).winner is Winner.B
    assert read(2225, 2125).winner is Winner.A
    assert (
        "B is more often right: accuracy 89.0 % of B against 85.0 % of A" in read(2125, 2225).reason
    )


def test_before_the_planned_sample_nothing_wins_and_it_tells_what_is_needed():
    assert max(PLAN.needed) > 2000
    found = read(850, 950, n=1000)
    assert found.accuracy.p_value < 1e-6
    assert found.winner is Winner.UNDECIDED
    assert f"1,000 of {PLAN.needed[0]:,}" in found.reason
    assert read(0, 0, n=0, requests=(0, 0), failed_a=0, failed_b=0).winner is Winner.UNDECIDED


def test_no_difference_is_undecided_and_says_whether_that_is_enough():
    assert "choose by cost" in read(2125, 2130).reason
    assert "a further test needs more" in read(2125, 2165).reason


def test_a_winner_that_fails_more_requests_does_not_win():
    found = read(2125, 2225, failed_b=60)
    assert found.winner is Winner.UNDECIDED
    assert "fails more requests" in found.reason
    assert read(2125, 2225, failed_a=60).winner is Winner.B


def test_a_split_that_is_not_as_planned_concludes_nothing():
    assert "mend the split" in read(2125, 2225, requests=(5000, 4500)).reason
    assert read(2125, 2225, requests=(5000, 4950)).winner is Winner.B
    tenth = Plan(baseline=0.85, share_b=0.1)
    assert "mend the split" in read(2125, 2225, plan=tenth).reason
