"""Whole rollouts: what is decided, and what each leaves on the service."""

import json

import pytest

from components.deployment.rollout import RolloutOptions
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, World


def test_the_first_version_is_deployed_at_once(mode):
    world = World(mode, empty=True)
    done = world.roll_out("3")
    assert (done.decision, done.steps, done.stable_version) == ("first_deployment", (), "3")
    assert done.reason == "version 3 is ready"
    assert world.shares == {"3": 100}
    assert "first-deployment" not in world.noted
    before = world.final
    assert world.roll_out("3").decision == "already_serving"
    assert world.final == before
    assert world.kserve.restarts == {}


def test_a_first_version_that_never_starts_is_removed_and_told(mode):
    world = World(mode, broken=("3",), empty=True)
    with pytest.raises(UserError, match=r"version 3 never became ready as the first.*no pod"):
        world.roll_out("3")
    assert world.kept.found == {}


def test_a_good_canary_is_promoted_step_by_step(world):
    done = world.roll_out()
    assert done.decision == "promote"
    assert [(step.percent, step.verdict) for step in done.steps] == [
        (10, "promote"),
        (50, "promote"),
        (100, "promote"),
    ]
    assert done.reason == f"version 4 proved itself beside 3: {done.steps[-1].reason}"
    assert (done.stable_version, done.version) == ("3", "4")
    assert world.shares == {"4": 100}
    assert world.kserve.restarts == {}
    before = world.final
    assert world.roll_out().decision == "already_serving"
    assert world.final == before
    told = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert [step["percent"] for step in told["steps"]] == [10, 50, 100]


def test_pods_for_the_next_step_run_before_its_traffic_comes():
    world, replicas = World("Standard"), {}
    world.kept.patch(NAME, {"spec": {"predictor": {"minReplicas": 6, "maxReplicas": 10}}})
    world.objects.before = lambda _: replicas.update(world.replicas)
    world.roll_out()
    assert replicas == {0: 1, 10: 3, 50: 6, 100: 6}
    predictor = world.spec["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (6, 10)


def test_alpha_is_shared_by_the_steps(mode):
    def first_interval(alpha, steps):
        done = World(mode).roll_out(alpha=alpha, steps=steps)
        return done.steps[0].analyses[0].measures[0].interval

    assert first_interval(0.06, (10, 50, 100)) == first_interval(0.04, (10, 100))
    assert first_interval(0.06, (10, 50, 100)) != first_interval(0.06, (10, 100))


@pytest.mark.parametrize("percent", [10, 50, 100])
def test_a_canary_with_errors_goes_back_from_any_step(world, percent):
    def later(what):
        if world.shares.get("4", 0) == percent:
            world.time.errors["4"] = 0.3

    world.objects.before = later
    done = world.roll_out(steps=tuple(sorted({5, percent, 100})))
    assert (done.decision, done.steps[-1].percent) == ("roll_back", percent)
    assert done.reason == f"at {percent} percent, {done.steps[-1].reason}"
    assert "failed requests" in done.reason
    assert world.shares == {"3": 100}
    assert world.noted["rejected-version"] == "4"
    assert world.noted["rejected-because"] == done.reason
    assert world.kserve.restarts == {}


def test_a_canary_that_never_starts_goes_back(mode):
    world = World(mode, broken=("4",))
    done = world.roll_out()
    assert done.decision == "roll_back"
    assert done.reason.startswith("it never became ready: ")
    assert {"Standard": "not within 60 s", "Knative": "RevisionFailed"}[mode] in done.reason
    assert "no pod started" in done.reason
    assert world.kserve.served == {"3"}


@pytest.mark.parametrize("blind", [True, False])
def test_a_canary_that_is_not_proven_in_time_goes_back(world, blind):
    world.time.per_second = 1
    if blind:
        world.time.blind.add("4")
    done = world.roll_out(step_deadline_seconds=60)
    assert done.decision == "roll_back"
    assert "at 10 percent, not proven within 60 s" in done.reason
    assert ("is not seen" in done.reason) == blind
    assert done.steps[-1].verdict == "hold"
    assert done.steps[-1].seconds == 60
    assert len(done.steps[-1].analyses) == (0 if blind else 4)


def test_a_rejected_version_is_tried_again_only_on_request(world):
    world.time.errors["4"] = 0.5
    first = world.roll_out()
    before, calls = world.final, world.objects.calls
    again = world.roll_out()
    assert (again.decision, again.reason, again.steps) == ("roll_back", first.reason, ())
    assert world.final == before
    assert world.objects.calls < calls + 5
    assert world.roll_out(retry_rejected=True).decision == "roll_back"
    world.kserve.served.clear()
    done = world.roll_out("5")
    assert (done.decision, done.stable_version) == ("promote", "3")
    assert world.kserve.served == {"3", "5"}
    assert "rejected-version" not in world.noted
    world.time.errors.clear()
    assert [world.roll_out(version).decision for version in "34"] == ["promote"] * 2
    assert world.shares == {"4": 100}


def test_a_version_that_was_rejected_may_be_retried_and_promoted(world):
    world.time.errors["4"] = 0.5
    world.roll_out()
    world.time.errors.clear()
    assert world.roll_out(retry_rejected=True).decision == "promote"
    assert world.roll_out("5").decision == "promote"
    assert "review-sentiment/attempt" not in world.spec["predictor"]["annotations"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": 1}, "no rollout option errors; the rollout options are error_rate, "),
        ({"alpha": 0}, "alpha must lie from 1e-09 to 0.999, not 0"),
        ({"error_rate": float("nan")}, "error_rate must lie from 0 to 1, not nan"),
        ({"steps": "10;50"}, "steps must be a list such as 10,50, not '10;50'"),
        ({"steps": ""}, r"steps \(none\) cannot be rolled out"),
        *(({"steps": steps}, "cannot be rolled out") for steps in ("100", "0,100", "10,50")),
        *(({"steps": steps}, "cannot be r") for steps in ("50,10,100", "10,10,100", "-5,50,100")),
    ],
)
def test_options_that_cannot_be_are_refused_in_words(options, message):
    with pytest.raises(UserError, match=message):
        RolloutOptions.from_dict(options)


def test_a_step_has_an_hour_unless_it_is_given_more():
    assert RolloutOptions().step_deadline_seconds == 3600
    given = RolloutOptions.from_dict({"step_deadline_seconds": "1e7", "steps": "1,100"})
    assert (given.step_deadline_seconds, given.steps) == (10**7, (1, 100))


def test_a_canary_that_does_not_answer_labelled_reviews_is_not_promoted(world):
    asked, answers = set(), ([], "no label came")

    def labelled(*versions):
        asked.add(versions)
        return answers

    done = world.roll_out(labelled=labelled, step_deadline_seconds=300)
    assert done.reason == "at 10 percent, not proven within 300 s (no label came)"
    answers = [(True, True)] * 200, ""
    done = world.roll_out(labelled=labelled, retry_rejected=True)
    assert done.steps[0].analyses[-1].measures[-1].canary == (200, 200)
    assert (done.decision, asked) == ("promote", {("3", "4")})
    world.time.errors["5"] = 0.5
    done = world.roll_out("5", labelled=lambda *_: ([], "no label came"))
    assert "failed requests" in done.reason
