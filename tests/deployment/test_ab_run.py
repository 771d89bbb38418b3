"""Whole A/B tests against a store in memory, KServe's rules and traffic that follows its split."""

import copy
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from components.contracts.errors import UserError
from components.deployment.ab_run import reviews_needed, run_ab_test
from components.deployment.ab_test import Plan, Winner
from components.deployment.guarded_canary import Interfered
from components.deployment.labelled_reviews import LabelledReview
from components.deployment.labelled_traffic import Answer
from components.deployment.rollout_record import Decision
from tests.deployment.test_roll_out import NAME, Killed, World

PLAN = Plan(baseline=0.6, smallest_effect=0.25)
REVIEWS = [LabelledReview(None, f"review {number}", "positive") for number in range(400)]
SHARES = "review-sentiment/stable-evidence"


@pytest.fixture(params=["Standard", "Knative"])
def mode(request):
    return request.param


class Lab(World):
    """A world whose versions are right more or less often.

    Attributes:
        right: Share of right answers, by version.
        lost: Share of labelled reviews without an answer.
        asked: Bodies of the reviews that were asked.
    """

    def __init__(self, mode, b=0.9, a=0.6, broken=()):
        super().__init__(mode, broken=broken)
        self.right, self.lost, self.asked = {"3": a, "4": b}, 0.0, []
        self.chance = random.Random(1)

    def ask(self, reviews, seconds):
        self.time.sleep(seconds)
        answers = []
        for review in reviews:
            self.asked.append(review.body)
            shares = self.kserve.weights
            (version,) = self.chance.choices(list(shares), list(shares.values()))
            if self.chance.random() < self.lost:
                continue
            failed = self.chance.random() < self.time.errors.get(version, 0)
            right = not failed and self.chance.random() < self.right[version]
            answers.append(Answer(version, 500 if failed else 200, right))
        return answers

    def test(self, version="4", **more):
        options = {"plan": PLAN, "reviews": REVIEWS, "ask": self.ask, "clock": self.time.clock}
        return run_ab_test(self.canary(version), self.time, **{**options, **more})

    def test_until_it_ends(self, kill_at, **more):
        """Killed once, and run again."""
        self.store.kill_at = kill_at
        try:
            return self.test(**more)
        except Killed:
            pass
        self.store.kill_at = None
        return self.test(**more)


def test_the_better_candidate_serves_in_the_end(mode):
    lab = Lab(mode)
    done = lab.test()
    assert (done.decision, done.result.winner) == (Decision.PROMOTE, Winner.B)
    assert (done.stable_version, done.version) == ("3", "4")
    assert lab.shares == {"4": 100}
    assert lab.kserve.restarts == {}
    a, b = done.result.arms
    assert a.right.of >= PLAN.needed[0]
    assert b.right.of >= PLAN.needed[1]
    assert a.right.of + b.right.of == done.asked == len(set(lab.asked)) == len(lab.asked)
    assert done.unanswered == 0
    assert a.failed.of > 1000  # everyone's requests count here
    json.dumps(done.to_dict(), allow_nan=False)
    assert lab.test().decision == "already_serving"


def test_the_worse_candidate_leaves_and_a_stays(mode):
    lab = Lab(mode, a=0.9, b=0.5)
    done = lab.test()
    assert (done.decision, done.result.winner) == (Decision.ROLL_BACK, Winner.A)
    assert lab.shares == {"3": 100}
    annotations = lab.final[0]["metadata"]["annotations"]
    assert annotations["review-sentiment/rejected-version"] == "4"
    asked = len(lab.asked)
    again = lab.test()
    assert (again.decision, again.reason, again.result) == ("roll_back", done.reason, None)
    assert len(lab.asked) == asked
    lab.right = {"3": 0.5, "4": 0.9}
    assert lab.test(retry_rejected=True).decision == "promote"


def test_where_no_difference_is_shown_a_stays(mode):
    lab = Lab(mode, a=0.7, b=0.7)
    done = lab.test()
    assert (done.decision, done.result.winner) == (Decision.ROLL_BACK, Winner.UNDECIDED)
    assert "no difference is shown" in done.reason
    assert lab.shares == {"3": 100}


@pytest.mark.parametrize("percent", [10, 37, 80])
def test_b_has_its_share_and_all_through_the_test(mode, percent):
    lab, seen = Lab(mode), set()
    plan = Plan(baseline=0.5, smallest_effect=0.4, share_b=percent / 100)
    ask = lab.ask

    def watched(reviews, seconds):
        seen.add(lab.shares["4"])
        return ask(reviews, seconds)

    done = lab.test(plan=plan, ask=watched)
    assert seen == {percent}
    assert done.result.winner is not Winner.UNDECIDED or "split" not in done.reason
    assert done.result.split_p_value > 0.01


def test_the_candidate_has_the_pods_for_all_before_it_gets_all():
    """KServe keeps a canary's replicas; those of 100 percent run when it wins."""
    lab = Lab("Standard")
    lab.kept.patch(NAME, {"spec": {"predictor": {"minReplicas": 4, "maxReplicas": 4}}})
    replicas = {}

    def look(_):
        (canary,) = lab.kept.found[NAME]["spec"].get("canary") or [None]
        if canary:
            replicas[canary["trafficPercent"]] = canary["predictor"]["minReplicas"]

    lab.store.before = look
    lab.test()
    assert replicas == {0: 2, 50: 4, 100: 4}


def test_time_that_is_up_leaves_it_undecided(mode):
    lab = Lab(mode)
    done = lab.test(deadline_seconds=5, reviews_per_second=2)
    assert done.decision == "roll_back"
    assert done.reason.startswith("not decided within 5 s: too early: A has answered")
    assert not done.stopped
    assert lab.shares == {"3": 100}
    assert 0 < done.asked < 30


def test_a_candidate_whose_failures_nobody_sees_is_not_promoted(mode):
    lab = Lab(mode)
    ask = lab.ask

    def then_blind(reviews, seconds):
        lab.time.blind.add("4")
        return ask(reviews, seconds)

    done = lab.test(ask=then_blind, deadline_seconds=100)
    assert done.decision == "roll_back"
    assert "not decided within 100 s (version 4 is not seen)" in done.reason
    assert lab.shares == {"3": 100}
    lab = Lab(mode)
    lab.time.blind.add("3")
    assert "version 3 is not seen" in lab.test(deadline_seconds=100).reason
    assert lab.asked == []


def test_a_candidate_that_fails_requests_is_stopped_early(mode):
    lab = Lab(mode)
    lab.time.errors["4"] = 0.4
    done = lab.test()
    assert (done.decision, done.stopped) == (Decision.ROLL_BACK, True)
    assert "stopped before the planned sample, failed requests: 40.0 % against 0.0 %" in done.reason
    assert done.asked < 200
    assert lab.shares == {"3": 100}


def test_a_candidate_that_is_slow_or_says_other_classes_is_not_stopped(mode):
    """Other classes are what a better candidate gives; only failed requests are harm."""
    lab = Lab(mode)
    lab.time.edges["4"] = 25
    assert lab.test().decision == "promote"


def test_lost_answers_are_told_and_use_the_reviews_up(mode):
    lab = Lab(mode)
    lab.lost = 0.9
    done = lab.test()
    assert done.decision == "roll_back"
    assert done.reason.startswith("all 400 labelled reviews were asked: too early")
    assert done.asked == 400
    assert done.unanswered > 300


def test_a_failed_answer_is_none(mode):
    lab = Lab(mode)
    done = lab.test(
        ask=lambda reviews, seconds: [
            Answer("43"[n % 2], 500 if n % 4 < 2 else 200, True) for n, _ in enumerate(reviews)
        ]
    )
    a, b = done.result.arms
    assert a.right.of + b.right.of == done.asked - done.unanswered
    assert done.unanswered >= done.asked // 2


def test_a_canary_that_is_taken_away_is_noticed_at_the_next_look(mode):
    lab, asked = Lab(mode), []
    ask = lab.ask

    def removed(reviews, seconds):
        asked.append(len(reviews))
        spec = {"canary": None}
        if mode == "Knative":
            model = {"env": [{"name": "MODEL_VERSION", "value": "3"}], "storageUri": "s3://m/3"}
            spec = {"predictor": {"canaryTrafficPercent": None, "model": model}}
        lab.kept.patch(NAME, {"spec": spec})
        return ask(reviews, seconds)

    with pytest.raises(Interfered, match="removed version 4; 3 serves alone"):
        lab.test(ask=removed)
    assert len(asked) == 1


def test_answers_of_others_count_for_no_arm(mode):
    lab = Lab(mode)
    done = lab.test(ask=lambda reviews, seconds: [Answer("9", 200, True)] * len(reviews))
    assert done.decision == "roll_back"
    assert done.unanswered == done.asked == 400


def test_a_candidate_that_never_starts_leaves(mode):
    lab = Lab(mode, broken=("4",))
    done = lab.test()
    assert done.decision == "roll_back"
    assert done.reason.startswith("it never became ready")
    assert (lab.kserve.served, lab.asked) == ({"3"}, [])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reviews": REVIEWS[:100]}, r"100 labelled reviews are too few: the plan needs \d+"),
        ({"plan": Plan(0.6, 0.25, share_b=0.105)}, r"B cannot have 10\.5 percent"),
        ({"reviews_per_second": 0.0}, "must be above 0"),
    ],
)
def test_what_cannot_be_tested_is_refused_before_anything_changes(mode, more, words):
    lab = Lab(mode)
    with pytest.raises(UserError, match=words):
        lab.test(**more)
    assert lab.store.calls == 0


def test_without_a_version_that_serves_there_is_nothing_to_test_against(mode):
    lab = Lab(mode)
    lab.kept.found.clear()
    with pytest.raises(UserError, match="nothing serves reviews that version 4 could be tested"):
        lab.test()
    assert lab.kept.found == {}


def test_another_canary_is_not_touched(mode):
    lab = Lab(mode)
    lab.store.kill_at = 12
    with pytest.raises(Killed):
        lab.roll_out("4")
    lab.store.kill_at = None
    before = lab.final
    with pytest.raises(UserError, match="is trying version 4 at 10 percent"):
        lab.test("5")
    with pytest.raises(UserError, match="version 4 has 10 percent of the traffic, not the 50"):
        lab.test("4")
    assert lab.final == before


def test_a_rollouts_canary_at_all_of_the_traffic_is_not_taken_for_a_winner(mode):
    lab = Lab(mode)

    def kill(_):
        if lab.shares == {"4": 100}:
            raise Killed

    lab.store.before = kill
    with pytest.raises(Killed):
        lab.roll_out("4")
    lab.store.before = None
    with pytest.raises(UserError, match="version 4 has 100 percent of the traffic"):
        lab.test()


@pytest.mark.parametrize("call", ["read", "patch", "wait"])
def test_a_canary_that_someone_else_moved_is_left_to_them(mode, call):
    lab, changed = Lab(mode), []

    def someone(called):
        spec = lab.kept.found[NAME]["spec"]
        canary = (spec.get("canary") or [{}])[0]
        percent = canary.get("trafficPercent", spec["predictor"].get("canaryTrafficPercent"))
        if called == call and percent == 50 and not changed:
            change = {"predictor": {"canaryTrafficPercent": 20}}
            if lab.mode == "Standard":
                change = {"canary": [{**copy.deepcopy(canary), "trafficPercent": 20}]}
            changed.append(lab.kept.patch(NAME, {"spec": change}))

    lab.store.before = someone
    with pytest.raises(Interfered, match="gave version 4 20 percent"):
        lab.test()
    assert lab.kept.found[NAME]["spec"] == changed[0]["spec"]


@pytest.mark.parametrize("name", ["better", "worse", "failing", "broken", "undecided"])
def test_killed_before_any_call_and_run_again_it_ends_the_same(mode, name):
    def scenario():
        rates = {"better": (0.9, 0.6), "worse": (0.5, 0.9), "undecided": (0.7, 0.7)}
        broken = ("4",) if name == "broken" else ()
        lab = Lab(mode, *rates.get(name, (0.9, 0.6)), broken=broken)
        lab.time.errors["4"] = 0.5 if name == "failing" else 0
        return lab

    lab = scenario()
    ends = {lab.test().decision, *({"already_serving"} if name == "better" else ())}
    wanted, calls = lab.final, lab.store.calls
    assert calls > 4
    for kill_at in range(1, calls + 1):
        lab = scenario()
        # Another sample after the restart: what it decides is the same.
        lab.chance = random.Random(1)
        done = lab.test_until_it_ends(kill_at)
        assert done.decision in ends, kill_at
        assert lab.final == wanted, kill_at
        assert lab.kserve.restarts == {}, kill_at


def test_a_winner_whose_shift_was_killed_is_not_tested_anew(mode):
    lab = Lab(mode)
    patches = []

    def kill(what):
        patches.append(what)
        if lab.shares == {"4": 100}:
            raise Killed

    lab.store.before = kill
    with pytest.raises(Killed):
        lab.test()
    lab.store.before, asked = None, len(lab.asked)
    assert SHARES in lab.kept.found[NAME]["metadata"]["annotations"]
    done = lab.test()
    assert (done.decision, done.result.winner) == ("promote", Winner.B)
    assert len(lab.asked) == asked
    assert done.result.arms[0].right.of >= PLAN.needed[0]


def test_a_rollout_of_the_winner_that_was_killed_proves_it_again(mode):
    """Evidence of an A/B test is none of a canary's latency: the rollout takes its step back."""
    lab = Lab(mode)

    def kill(_):
        if lab.shares == {"4": 100}:
            raise Killed

    lab.store.before = kill
    with pytest.raises(Killed):
        lab.test()
    lab.store.before = None
    done = lab.roll_out("4")
    assert (done.decision, [step.percent for step in done.steps]) == ("promote", [50, 100])


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.3, 0.8),
    st.floats(0.1, 0.2),
    st.integers(5, 95),
)
def test_the_reviews_at_hand_are_enough_in_99_of_100_tests(baseline, effect, percent):
    plan = Plan(baseline, effect, share_b=percent / 100)

    def chance(n):
        a, b = plan.needed
        return sum(binom.pmf(k, n, plan.share_b) for k in range(b, n - a + 1))

    needed = reviews_needed(plan)
    assert chance(needed) >= 0.99 - 1e-9
    assert chance(needed - 1) < 0.99 + 1e-9
