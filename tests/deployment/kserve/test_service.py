"""What others do to the service while a version is tried stays as they left it."""

import copy

import pytest

from components.deployment.service import Interfered
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, Lab, MemoryObjects, World


def test_what_someone_else_changes_meanwhile_stays(world):
    """Replicas and labels are changed right before every other patch: it is decided anew."""
    patches = []

    def someone(what):
        if what != "patch":
            return
        number, again = divmod(len(patches), 2)
        if not again:
            # Labels would restart pods on a real cluster too; replicas would not.
            labels = {"metadata": {"labels": {f"someone-{number}": "was-here"}}}
            world.kept.patch(NAME, labels | {"spec": {"predictor": {"maxReplicas": 5 + number}}})
        patches.append(what)

    world.objects.before = someone
    assert world.roll_out().decision == "promote"
    assert len(patches) == 10
    labels = world.final[0]["metadata"]["labels"]
    assert {f"someone-{number}" for number in range(5)} <= set(labels)
    assert world.spec["predictor"]["maxReplicas"] == 9


def someone_elses(world, what):
    """What another run does to the canary at 50 percent; the object then."""
    objects, world.objects = world.objects, MemoryObjects(world.kept, world.time)
    if what == "moved":
        world.service().shift(50, 20, following=20)
    else:
        world.service().roll_back("no")
    if what == "replaced":
        world.service("9").start(10)
    world.objects = objects
    return copy.deepcopy(world.kept.found[NAME])


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("replaced", "is trying version 9 instead"),
        ("removed", "removed version 4; 3 serves alone"),
        ("moved", "gave version 4 20 percent of the traffic"),
    ],
)
@pytest.mark.parametrize("call", ["read", "patch", "wait"])
@pytest.mark.parametrize("run", [World.roll_out, Lab.test])
def test_a_canary_that_someone_else_changed_is_left_to_them(lab, what, words, call, run):
    changed = []

    def someone(called):
        percents = *lab.replicas, lab.spec["predictor"].get("canaryTrafficPercent")
        if called == call and percents[0] == 50 and not changed:
            changed.append(someone_elses(lab, what))

    lab.objects.before = someone
    with pytest.raises(Interfered, match=words):
        run(lab)
    kept, left = lab.kept.found[NAME], changed[0]
    assert kept["spec"] == left["spec"]
    assert kept["metadata"]["annotations"] == left["metadata"]["annotations"]
    if call == "read":  # the next look notices it, before more reviews are asked
        assert lab.asked == []


def test_a_service_that_changes_all_the_time_is_given_up(world):
    def someone(called):
        if called == "patch":
            world.kept.patch(NAME, {"metadata": {"labels": {"n": str(world.objects.calls)}}})

    world.objects.before = someone
    with pytest.raises(UserError, match="was changed by someone else at each of 50 attempts"):
        world.roll_out()
    assert world.time.slept == [0.2] * 49


def test_a_cluster_that_drops_canaries_is_told():
    world = World("Standard")
    patch = world.kept.patch

    def pruning(name, change):
        return patch(name, {**change, "spec": {**change.get("spec", {}), "canary": None}})

    world.kept.patch = pruning
    with pytest.raises(UserError, match=r"KServe is older than 0\.20 and knows no spec\.canary"):
        world.roll_out()
    assert world.shares == {"3": 100}


def test_a_service_that_serves_but_is_down_is_told(world):
    world.kserve.broken.add("3")
    with pytest.raises(UserError, match=r"not within 60 s|cannot start"):
        world.roll_out("3")
    assert NAME in world.kept.found


def test_another_canary_is_not_touched(lab):
    lab.killed(lambda: lab.roll_out("4"), at=12)
    before = lab.final
    for run in (lab.roll_out, lab.test):
        with pytest.raises(UserError, match="is trying version 4 at 10 percent; let that rollout"):
            run("5")
    with pytest.raises(UserError, match="version 4 has 10 percent of the traffic, not the 50"):
        lab.test("4")
    assert lab.final == before
