"""Whole A/B tests: what is decided, and what each leaves on the service."""

import json

import pytest

from components.deployment.ab_test import AbTestOptions
from components.deployment.asking.labelled import Answer
from components.deployment.judging.ab_analysis import Winner
from components.deployment.tryout import Decision
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import PLAN, REVIEWS, Lab


def test_the_better_candidate_serves_in_the_end(lab):
    done = lab.test()
    assert (done.decision, lab.judge.result().winner) == (Decision.PROMOTE, Winner.B)
    assert (done.stable_version, done.version) == ("3", "4")
    assert lab.shares == {"4": 100}
    assert lab.kserve.restarts == {}
    a, b = lab.judge.result().arms
    assert a.right.of >= AbTestOptions(**PLAN).plan.needed[0]
    assert b.right.of >= AbTestOptions(**PLAN).plan.needed[1]
    assert a.right.of + b.right.of == lab.judge.asked == len(set(lab.asked)) == len(lab.asked)
    assert lab.judge.unanswered == 0
    assert a.failed.of > 1000  # everyone's requests count here
    json.dumps(lab.judge.result().to_dict(), allow_nan=False)
    assert lab.test().decision == "already_serving"


STOPPED = "stopped before the planned sample, failed requests: 40.0 % against 0.0 %"


@pytest.mark.parametrize(
    ("right", "errors", "winner", "words"),
    [
        ({"a": 0.9, "b": 0.5}, 0, Winner.A, "A is more often right"),
        ({"a": 0.7, "b": 0.7}, 0, Winner.UNDECIDED, "no difference is shown"),
        ({"a": 0.6, "b": 0.9}, 0.4, Winner.UNDECIDED, STOPPED),
    ],
)
def test_a_candidate_that_is_not_better_leaves_and_a_stays(mode, right, errors, winner, words):
    lab = Lab(mode, **right)
    lab.time.errors["4"] = errors
    done = lab.test()
    assert (done.decision, lab.judge.result().winner) == (Decision.ROLL_BACK, winner)
    assert (words in done.reason, lab.judge.stopped) == (True, errors > 0)
    assert (lab.shares, lab.noted["rejected-version"]) == ({"3": 100}, "4")


@pytest.mark.parametrize("percent", [10, 37, 80])
def test_b_has_its_share_and_all_through_the_test(mode, percent):
    lab, seen = Lab(mode), set()
    plan = {"baseline": 0.5, "smallest_effect": 0.4, "share_b": percent}
    ask = lab.ask

    def watched(reviews, seconds):
        seen.add(lab.shares["4"])
        return ask(reviews, seconds)

    done = lab.test(**plan, ask=watched)
    assert seen == {percent}
    assert lab.judge.result().winner is not Winner.UNDECIDED or "split" not in done.reason
    assert lab.judge.result().split_p_value > 0.01


def test_time_that_is_up_leaves_it_undecided(lab):
    done = lab.test(deadline_seconds=5.0, reviews_per_second=2)
    assert done.decision == "roll_back"
    assert done.reason.startswith("at 50 percent, not proven within 5 s (too early: A has answered")
    assert not lab.judge.stopped
    assert lab.shares == {"3": 100}
    assert 0 < lab.judge.asked < 30


def test_a_candidate_whose_failures_nobody_sees_is_not_promoted(lab):
    lab.time.blind.add("3")
    assert "version 3 is not seen" in lab.test(deadline_seconds=100).reason
    assert lab.asked == []
    lab.time.blind.clear()
    ask = lab.ask

    def then_blind(reviews, seconds):
        lab.time.blind.add("4")
        return ask(reviews, seconds)

    done = lab.test(ask=then_blind, deadline_seconds=100, retry_rejected=True)
    assert done.reason.endswith("not proven within 100 s (version 4 is not seen)")
    assert (done.decision, lab.shares) == ("roll_back", {"3": 100})


def test_a_candidate_that_is_slow_or_says_other_classes_is_not_stopped(lab):
    """Other classes are what a better candidate gives; only failed requests are harm."""
    lab.time.edges["4"] = 25
    assert lab.test().decision == "promote"


def lost_nine_times_in_ten(lab):
    lab.lost = 0.9
    return lab.ask


def answered(version, status):
    """The same answers from any lab: version and status of the n-th."""
    return lambda _: (
        lambda reviews, _: [Answer(version(n), status(n), True) for n in range(len(reviews))]
    )


FAILED = answered(lambda n: "43"[n % 2], lambda n: 500 if n % 4 < 2 else 200)
ANOTHERS = answered(lambda n: "9", lambda n: 200)


@pytest.mark.parametrize(
    ("answers", "share", "words"),
    [
        (lost_nine_times_in_ten, 0.75, "all 400 labelled reviews were asked: too early"),
        (FAILED, 0.5, "no difference is shown"),
        (ANOTHERS, 1.0, "all 400 labelled reviews were asked: too early"),
    ],
)
def test_answers_that_are_lost_failed_or_anothers_count_for_no_arm(answers, share, words):
    lab = Lab("Standard")
    done = lab.test(ask=answers(lab))
    (a, b), judge = lab.judge.result().arms, lab.judge
    assert a.right.of + b.right.of == judge.asked - judge.unanswered
    assert judge.unanswered >= share * judge.asked
    assert (done.decision, words in done.reason) == ("roll_back", True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reviews": REVIEWS[:100]}, r"100 labelled reviews are too few: the plan needs \d+"),
        ({"share_b": 100}, "share_b must lie from 1 to 99"),
        ({"power": 1.0}, "power must lie from 0.01 to 0.9999"),
        ({"reviews_per_second": 0.0}, "reviews_per_second must lie from 0.01"),
        ({"smallest_effect": 0.7}, r"an accuracy of 0\.6 cannot change by 0\.7"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_anything_changes(lab, more, words):
    with pytest.raises(UserError, match=words):
        lab.test(**more)
    assert lab.objects.calls == 0


def test_where_nothing_serves_yet_there_is_nothing_to_test_against(lab):
    lab.annotations["review-sentiment/first-deployment"] = "in progress"
    before = lab.final
    with pytest.raises(UserError, match=r"first deployment of reviews has not ended; .* version 3"):
        lab.test()
    assert lab.final == before
    lab.kept.found.clear()
    with pytest.raises(UserError, match="nothing serves reviews that version 4 could be compared"):
        lab.test()
    assert lab.kept.found == {}
