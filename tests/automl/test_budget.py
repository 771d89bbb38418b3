import math

import pytest

from components.automl.budget import Budget, shown
from components.automl.candidates import all_candidates
from components.shared.machine.errors import UserError


def test_the_cheapest_come_first_and_the_rest_goes_round():
    candidates = all_candidates()
    assert list(candidates)[-1] == "fine_tuned"
    alone = Budget(max_candidates=1).trials(candidates)
    assert sum(alone.values()) == 1
    assert alone["fine_tuned"] == 0
    many = Budget(max_candidates=20).trials(candidates)
    assert sum(many.values()) == 20
    assert many["fine_tuned"] == 1
    searched = [many[name] for name, one in candidates.items() if one.searched]
    assert max(searched) - min(searched) <= 1


def test_what_follows_the_search_has_a_quarter_of_the_time_or_five_minutes():
    assert Budget(max_seconds=400).deadline(1000.0) == 1300.0
    assert Budget(max_seconds=3600).deadline(1000.0) == 4300.0


@pytest.mark.parametrize(
    ("estimate", "left", "why"),
    [
        (5.0, 10.0, ""),
        (11.0, 10.0, "needs about 11 s, and 10 s were left"),
        (0.0, -1.0, "the time was over before it could begin"),
        (8.0, 10.0, "needs about 8.0 s, and a candidate may take 7.0 s"),
    ],
)
def test_what_cannot_fit_is_refused_in_words(estimate, left, why):
    assert Budget(max_seconds_per_candidate=7.0 if why.endswith("7.0 s") else 0.0).refusal(
        estimate, left
    ) == (why)


def test_a_trial_ends_with_its_own_time_or_with_the_search():
    assert Budget().ends(100.0, 150.0) == 150.0
    assert Budget(max_seconds_per_candidate=20.0).ends(100.0, 150.0) == 120.0
    assert Budget(max_seconds_per_candidate=20.0).ends(100.0, math.inf) == 120.0
    assert Budget().further(100.0, 150.0) == pytest.approx(105.0)


@pytest.mark.parametrize("limit", [{"max_candidates": 0}, {"max_seconds": 0.5}])
def test_a_budget_that_buys_nothing_is_refused(limit):
    with pytest.raises(UserError, match=f"budget {next(iter(limit))}"):
        Budget(**limit)


def test_seconds_are_written_as_people_do():
    assert [shown(value) for value in (0.34, 12.4, 300.0)] == ["0.3 s", "12 s", "5.0 min"]
