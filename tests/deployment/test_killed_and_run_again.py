"""Rollouts and A/B tests that are killed before any of their calls end as if they had not been."""

import json
import random

import pytest

from components.deployment.ab_test import AbTestOptions
from components.deployment.judging.ab_analysis import Winner
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import EVIDENCE, NAME, PLAN, Lab, World


def rollout(name, mode):
    """A world and what is run in it."""
    world = World(mode, broken=("4",) if name == "broken" else (), empty=name == "first")
    world.time.errors["4"] = 0.5 if name == "bad" else 0
    return world, world.roll_out


def ab_test(name, mode):
    """A lab and what is run in it."""
    right = {"worse": (0.5, 0.9), "undecided": (0.7, 0.7)}.get(name, (0.9, 0.6))
    lab = Lab(mode, *right, broken=("4",) if name == "broken" else ())
    lab.time.errors["4"] = 0.5 if name == "failing" else 0

    def test():
        # Another sample after the restart: what it decides is the same.
        lab.chance = random.Random(1)
        return lab.test()

    return lab, test


@pytest.mark.parametrize(
    ("made", "name"),
    [
        *((rollout, name) for name in ("first", "good", "bad", "broken")),
        *((ab_test, name) for name in ("better", "worse", "failing", "broken", "undecided")),
    ],
)
def test_killed_before_any_call_and_run_again_it_ends_the_same(made, name, mode):
    world, run = made(name, mode)
    end = run().decision
    ends = {end} if end == "roll_back" else {end, "already_serving"}
    wanted, calls = world.final, world.objects.calls
    assert calls > 3
    for kill_at in range(1, calls + 1):
        world, run = made(name, mode)
        assert world.killed_and_run_again(run, kill_at).decision in ends, kill_at
        assert world.final == wanted, kill_at
        assert world.kserve.restarts == {}, kill_at


def test_a_killed_removal_of_a_first_version_is_finished(mode):
    world = World(mode, broken=("3",), empty=True)
    with pytest.raises(UserError, match="never became ready"):
        world.roll_out("3")
    for kill_at in range(1, world.objects.calls + 1):
        world = World(mode, broken=("3",), empty=True)
        with pytest.raises(UserError, match="never became ready"):
            world.killed_and_run_again(lambda: world.roll_out("3"), kill_at)  # noqa: B023
        assert world.kept.found == {}


def test_another_version_waits_for_a_first_deployment_that_was_killed(mode):
    world = World(mode, empty=True)
    world.killed(lambda: world.roll_out("3"), at=4)
    done = world.roll_out("4")
    assert (done.decision, done.stable_version) == ("promote", "3")
    broken = World(mode, empty=True, broken=("3",))
    broken.killed(lambda: broken.roll_out("3"), at=4)
    with pytest.raises(UserError, match=r"not within|cannot start"):
        broken.roll_out("4")
    assert NAME in broken.kept.found


def test_without_the_evidence_of_the_step_before_it_is_made_again(world):
    """The stable version is idle at 100 percent: what it does then says nothing."""
    world.killed(world.roll_out, when=lambda: world.shares == {"4": 100})
    evidence = json.loads(world.annotations[EVIDENCE])
    assert evidence["seen"]["requests"] > 100
    world.kept.patch(NAME, {"metadata": {"annotations": {EVIDENCE: None}}})
    done = world.roll_out()
    assert [step.percent for step in done.steps] == [50, 100]
    assert done.decision == "promote"
    assert world.kserve.restarts == {}


def test_a_winner_whose_shift_was_killed_is_not_tested_anew(lab):
    lab.killed(lab.test, when=lambda: lab.shares == {"4": 100})
    asked = len(lab.asked)
    assert EVIDENCE in lab.annotations
    done = lab.test()
    assert (done.decision, lab.judge.result().winner) == ("promote", Winner.B)
    assert len(lab.asked) == asked
    assert lab.judge.result().arms[0].right.of >= AbTestOptions(**PLAN).plan.needed[0]


def test_a_rollout_of_the_winner_that_was_killed_proves_it_again(lab):
    """An A/B test's evidence says nothing of latency: the rollout takes its step back."""
    lab.killed(lab.test, when=lambda: lab.shares == {"4": 100})
    done = lab.roll_out("4")
    assert (done.decision, [step.percent for step in done.steps]) == ("promote", [50, 100])


def test_a_rollouts_canary_at_all_of_the_traffic_is_not_taken_for_a_winner(lab):
    lab.killed(lab.roll_out, when=lambda: lab.shares == {"4": 100})
    with pytest.raises(UserError, match="version 4 has 100 percent of the traffic"):
        lab.test()
