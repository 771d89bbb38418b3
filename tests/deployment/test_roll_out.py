"""Whole rollouts against a store in memory, KServe's rules and traffic that follows its split."""

import copy
import json
from collections import defaultdict
from dataclasses import replace

import pytest

from components.contracts.errors import UserError
from components.contracts.serving_metrics import SECONDS_BUCKETS
from components.deployment.canary_analysis import Limits
from components.deployment.guarded_canary import GuardedCanary, Interfered
from components.deployment.observations import NotObserved, Observations
from components.deployment.roll_out import roll_out
from components.deployment.service_store import Conflict
from tests.cluster.kserve_controller import KServe
from tests.cluster.kubernetes_mock import Objects, Refused, Time

NAME = "reviews"


class Killed(BaseException):
    """The process was killed: nothing may catch it."""


class MemoryStore:
    """A `ServiceStore`: the mock's objects without HTTP.

    Attributes:
        kill_at: Number of the call before which the process is killed.
        before: Called with each call's name before it is carried out.
    """

    def __init__(self, kept, time):
        self.kept, self.time = kept, time
        self.calls, self.kill_at, self.before = 0, None, None

    def _called(self, what):
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        if self.before:
            self.before(what)

    def _read(self):
        return self.kept.read(NAME) if NAME in self.kept.found else None

    def read(self):
        self._called("read")
        return self._read()

    def create(self, service):
        self._called("create")
        return self._refusing(lambda: self.kept.create(service))

    def patch(self, change, resource_version):
        self._called("patch")
        guarded = copy.deepcopy(change)
        guarded.setdefault("metadata", {})["resourceVersion"] = resource_version
        return self._refusing(lambda: self.kept.patch(NAME, guarded))

    def _refusing(self, do):
        try:
            return do()
        except Refused as refused:
            if refused.code in (404, 409):
                raise Conflict from None
            raise UserError(str(refused)) from None

    def wait(self, reached, deadline_seconds):
        self._called("wait")
        until = self.time.now + deadline_seconds
        while True:
            found = self._read()
            if found is None:
                raise UserError("gone")
            if reached(found):
                return found
            if self.time.now >= until:
                raise UserError(f"not within {deadline_seconds:.0f} s: {self.explain()}")
            self.time.sleep(5)

    def explain(self):
        return "no pod started"

    def delete(self):
        self._called("delete")
        self.kept.delete(NAME)


class Traffic(Time):
    """Requests that are split as the cluster says, while time passes.

    Attributes:
        errors: Share of failed requests, by version.
        edges: Index of the bucket of a version's answers.
        blind: Versions whose counts cannot be read.
    """

    def __init__(self, kserve, per_second=400):
        super().__init__()
        self.kserve, self.per_second = kserve, per_second
        self.errors, self.edges, self.blind = {}, {}, set()
        self.requests = defaultdict(float)

    def sleep(self, seconds):
        super().sleep(seconds)
        for version, share in self.kserve.weights.items():
            self.requests[version] += seconds * self.per_second * share / 100

    def read(self, version):
        if version in self.blind:
            raise NotObserved(f"version {version} is not seen")
        requests = int(self.requests[version])
        errors = int(requests * self.errors.get(version, 0))
        latency = [0] * (len(SECONDS_BUCKETS) + 1)
        latency[self.edges.get(version, 5)] = requests - errors
        third = requests // 3
        return Observations(requests, errors, 0, tuple(latency), (third, third, third))


class World:
    """A cluster with version 3 on it, unless told otherwise."""

    def __init__(self, mode, broken=(), empty=False):
        self.kserve = KServe(broken=broken)
        self.kept = Objects(self.kserve)
        self.time = Traffic(self.kserve)
        self.store = MemoryStore(self.kept, self.time)
        self.mode = mode
        if not empty:
            self.roll_out("3")
        self.store.calls = 0

    def canary(self, version="4"):
        return GuardedCanary(
            self.store,
            NAME,
            version,
            f"s3://m/{version}",
            f"d{version}",
            self.mode,
            ready_within_seconds=60,
            sleep=self.time.sleep,
        )

    def roll_out(self, version="4", **more):
        options = {"step_deadline_seconds": 1200, "clock": self.time.clock, **more}
        return roll_out(self.canary(version), self.time, **options)

    def run_until_it_ends(self, kill_at, **more):
        """Killed once, and run again."""
        self.store.kill_at = kill_at
        try:
            return self.roll_out(**more)
        except Killed:
            pass
        self.store.kill_at = None
        return self.roll_out(**more)

    @property
    def final(self):
        """The object without what each run counts or words anew."""
        if NAME not in self.kept.found:
            return None
        found = copy.deepcopy(self.kept.found[NAME])
        found.pop("status", None)
        for key in ("resourceVersion", "uid"):
            found["metadata"].pop(key)
        reason = found["metadata"]["annotations"].pop("review-sentiment/rejected-because", None)
        assert reason != ""
        return found, reason is not None

    @property
    def shares(self):
        return {version: share for version, share in self.kserve.weights.items() if share}


@pytest.fixture(params=["Standard", "Knative"])
def mode(request):
    return request.param


def test_the_first_version_is_deployed_at_once(mode):
    world = World(mode, empty=True)
    done = world.roll_out("3")
    assert (done.decision, done.steps, done.stable_version) == ("first_deployment", (), "3")
    assert world.shares == {"3": 100}
    assert "review-sentiment/first-deployment" not in world.final[0]["metadata"]["annotations"]
    before = world.final
    assert world.roll_out("3").decision == "already_serving"
    assert world.final == before
    assert world.kserve.restarts == {}


def test_a_first_version_that_never_starts_is_removed_and_told(mode):
    world = World(mode, broken=("3",), empty=True)
    with pytest.raises(UserError, match=r"version 3 never became ready as the first.*no pod"):
        world.roll_out("3")
    assert world.kept.found == {}


def test_a_good_canary_is_promoted_step_by_step(mode):
    world = World(mode)
    done = world.roll_out()
    assert done.decision == "promote"
    assert [step.percent for step in done.steps] == [10, 50, 100]
    assert [step.verdict for step in done.steps] == ["promote"] * 3
    assert (done.stable_version, done.version) == ("3", "4")
    assert world.shares == {"4": 100}
    assert world.kserve.restarts == {}
    before = world.final
    assert world.roll_out().decision == "already_serving"
    assert world.final == before
    told = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert [step["percent"] for step in told["steps"]] == [10, 50, 100]


def test_alpha_is_shared_by_the_steps(mode):
    def first_interval(alpha, steps):
        done = World(mode).roll_out(limits=Limits(alpha=alpha), steps=steps)
        return done.steps[0].analyses[0].measures[0].interval

    assert first_interval(0.06, (10, 50, 100)) == first_interval(0.04, (10, 100))
    assert first_interval(0.06, (10, 50, 100)) != first_interval(0.06, (10, 100))


def test_without_the_evidence_of_the_step_before_it_is_made_again(mode):
    """The stable version is idle at 100 percent: what it does then says nothing."""
    world = World(mode)
    killed = []

    def kill(what):
        annotations = world.kept.found[NAME]["metadata"]["annotations"]
        if world.shares == {"4": 100} and not killed:
            evidence = json.loads(annotations["review-sentiment/stable-evidence"])
            assert evidence["seen"]["requests"] > 100
            world.kept.patch(
                NAME, {"metadata": {"annotations": {"review-sentiment/stable-evidence": None}}}
            )
            killed.append(what)
            raise Killed

    world.store.before = kill
    with pytest.raises(Killed):
        world.roll_out()
    done = world.roll_out()
    assert [step.percent for step in done.steps] == [50, 100]
    assert done.decision == "promote"
    assert world.kserve.restarts == {}


@pytest.mark.parametrize("percent", [10, 50, 100])
def test_a_canary_with_errors_goes_back_from_any_step(mode, percent):
    world = World(mode)
    steps = tuple(sorted({5, percent, 100}))

    def later(what):
        shares = world.shares
        if shares.get("4", 0) == percent:
            world.time.errors["4"] = 0.3

    world.store.before = later
    done = world.roll_out(steps=steps)
    assert done.decision == "roll_back"
    assert done.steps[-1].percent == percent
    assert "failed requests" in done.reason
    assert world.shares == {"3": 100}
    annotations = world.kept.found[NAME]["metadata"]["annotations"]
    assert annotations["review-sentiment/rejected-version"] == "4"
    assert annotations["review-sentiment/rejected-because"] == done.reason
    assert world.kserve.restarts == {}


def test_a_slow_canary_goes_back(mode):
    world = World(mode)
    world.time.edges["4"] = 20
    done = world.roll_out()
    assert done.decision == "roll_back"
    assert "slower than" in done.reason


def test_a_canary_that_never_starts_goes_back(mode):
    world = World(mode, broken=("4",))
    done = world.roll_out()
    assert done.decision == "roll_back"
    assert done.reason.startswith("it never became ready: ")
    assert "no pod started" in done.reason
    assert world.kserve.served == {"3"}


@pytest.mark.parametrize("blind", [True, False])
def test_a_canary_that_is_not_proven_in_time_goes_back(mode, blind):
    world = World(mode)
    world.time.per_second = 1
    if blind:
        world.time.blind.add("4")
    done = world.roll_out(step_deadline_seconds=60)
    assert done.decision == "roll_back"
    assert "at 10 percent, not proven within 60 s" in done.reason
    assert ("is not seen" in done.reason) == blind
    assert done.steps[-1].verdict == "hold"
    assert len(done.steps[-1].analyses) == (0 if blind else 4)


def test_a_rejected_version_is_tried_again_only_on_request(mode):
    world = World(mode)
    world.time.errors["4"] = 0.5
    first = world.roll_out()
    before, calls = world.final, world.store.calls
    again = world.roll_out()
    assert (again.decision, again.reason, again.steps) == ("roll_back", first.reason, ())
    assert world.final == before
    assert world.store.calls < calls + 5
    assert world.roll_out(retry_rejected=True).decision == "roll_back"
    world.time.errors.clear()
    assert world.roll_out(retry_rejected=True).decision == "promote"
    assert world.shares == {"4": 100}
    assert world.roll_out("5").decision == "promote"
    assert "review-sentiment/attempt" not in world.final[0]["spec"]["predictor"]["annotations"]


def test_after_a_rejected_version_the_next_one_is_tried(mode):
    world = World(mode)
    world.time.errors["4"] = 0.5
    world.roll_out()
    world.kserve.served.clear()
    done = world.roll_out("5")
    assert (done.decision, done.stable_version) == ("promote", "3")
    assert world.kserve.served == {"3", "5"}
    annotations = world.final[0]["metadata"]["annotations"]
    assert "review-sentiment/rejected-version" not in annotations
    assert world.roll_out("3").decision == "promote"
    assert world.shares == {"3": 100}


def test_a_shadow_step_comes_before_any_traffic():
    world = World("Standard")
    mirrored = world.time.sleep

    def sleep(seconds):
        mirrored(seconds)
        annotations = world.kept.found[NAME]["metadata"]["annotations"]
        if annotations.get("review-sentiment/shadow") == "true" and "4" not in world.shares:
            world.time.requests["4"] += seconds * world.time.per_second

    world.time.sleep = sleep
    done = world.roll_out(steps=(0, 10, 100))
    assert [step.percent for step in done.steps] == [0, 10, 100]
    assert done.decision == "promote"
    assert "review-sentiment/shadow" not in world.final[0]["metadata"]["annotations"]


@pytest.mark.parametrize(
    "steps", [(), (100,), (0, 100), (10, 50), (50, 10, 100), (10, 10, 100), (-5, 50, 100)]
)
def test_steps_that_cannot_be_rolled_out_are_refused(steps):
    world = World("Standard")
    with pytest.raises(UserError, match="cannot be rolled out"):
        world.roll_out(steps=steps)
    assert world.store.calls == 0


def scenario(name, mode):
    """A world and the decisions that its rollout may end with."""
    match name:
        case "first":
            return World(mode, empty=True), {"first_deployment", "already_serving"}
        case "good":
            return World(mode), {"promote", "already_serving"}
        case "bad":
            world = World(mode)
            world.time.errors["4"] = 0.5
            return world, {"roll_back"}
        case "broken":
            return World(mode, broken=("4",)), {"roll_back"}
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["first", "good", "bad", "broken"])
def test_killed_before_any_call_and_run_again_it_ends_the_same(name, mode):
    world, ends = scenario(name, mode)
    assert world.roll_out().decision in ends
    wanted, calls = world.final, world.store.calls
    assert calls > 3
    for kill_at in range(1, calls + 1):
        world, _ = scenario(name, mode)
        assert world.run_until_it_ends(kill_at).decision in ends, kill_at
        assert world.final == wanted, kill_at
        assert world.kserve.restarts == {}, kill_at


def test_a_killed_removal_of_a_first_version_is_finished(mode):
    world = World(mode, broken=("3",), empty=True)
    with pytest.raises(UserError, match="never became ready"):
        world.roll_out("3")
    calls = world.store.calls
    for kill_at in range(1, calls + 1):
        world = World(mode, broken=("3",), empty=True)
        with pytest.raises(UserError, match="never became ready"):
            world.run_until_it_ends(kill_at, version="3")
        assert world.kept.found == {}


def test_another_version_waits_for_a_first_deployment_that_was_killed(mode):
    world = World(mode, empty=True)
    world.store.kill_at = 3
    with pytest.raises(Killed):
        world.roll_out("3")
    world.store.kill_at = None
    done = world.roll_out("4")
    assert (done.decision, done.stable_version) == ("promote", "3")
    world = World(mode, empty=True, broken=("3",))
    world.store.kill_at = 3
    with pytest.raises(Killed):
        world.roll_out("3")
    world.store.kill_at = None
    with pytest.raises(UserError, match=r"not within|cannot start"):
        world.roll_out("4")
    assert NAME in world.kept.found


def test_what_someone_else_changes_meanwhile_stays(mode):
    """Replicas and labels are changed right before each patch: it is decided anew."""
    world = World(mode)
    patches = []

    def someone(what):
        if what == "patch" and len(patches) % 2 == 0:
            number = len(patches) // 2
            change = {"metadata": {"labels": {f"someone-{number}": "was-here"}}}
            change["spec"] = {"predictor": {"maxReplicas": 5 + number}}
            # Labels would restart pods on a real cluster too; replicas would not.
            world.kept.patch(NAME, change)
        if what == "patch":
            patches.append(what)

    world.store.before = someone
    done = world.roll_out()
    assert done.decision == "promote"
    assert len(patches) == 10
    final = world.final[0]
    assert {f"someone-{number}" for number in range(5)} <= set(final["metadata"]["labels"])
    assert final["spec"]["predictor"]["maxReplicas"] == 9


def someone_elses(world, what):
    """A change that someone makes to the canary at 50 percent."""
    if what == "replaced":
        predictor = {"model": {"env": [{"name": "MODEL_VERSION", "value": "9"}]}}
        if world.mode == "Knative":
            return {"spec": {"predictor": predictor}}
        canary = copy.deepcopy(world.kept.found[NAME]["spec"]["canary"][0])
        canary["predictor"]["model"]["env"] = predictor["model"]["env"]
        canary["predictor"]["name"] = "v9"
        return {"spec": {"canary": [canary]}}
    if what == "removed":
        if world.mode == "Standard":
            return {"spec": {"canary": None}}
        model = {"env": [{"name": "MODEL_VERSION", "value": "3"}], "storageUri": "s3://m/3"}
        return {"spec": {"predictor": {"canaryTrafficPercent": None, "model": model}}}
    percent = 20
    if world.mode == "Knative":
        return {"spec": {"predictor": {"canaryTrafficPercent": percent}}}
    canary = copy.deepcopy(world.kept.found[NAME]["spec"]["canary"][0])
    return {"spec": {"canary": [{**canary, "trafficPercent": percent}]}}


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("replaced", "is trying version 9 instead"),
        ("removed", "removed version 4; 3 serves alone"),
        ("moved", "gave version 4 20 percent of the traffic"),
    ],
)
@pytest.mark.parametrize("call", ["read", "patch", "wait"])
def test_a_canary_that_someone_else_changed_is_left_to_them(mode, what, words, call):
    world = World(mode)
    changed = []

    def someone(called):
        now = world.kept.found.get(NAME, {})
        canary = (now.get("spec", {}).get("canary") or [{}])[0]
        percent = canary.get("trafficPercent") or now["spec"]["predictor"].get(
            "canaryTrafficPercent"
        )
        if called == call and percent == 50 and not changed:
            changed.append(world.kept.patch(NAME, someone_elses(world, what)))

    world.store.before = someone
    with pytest.raises(Interfered, match=words):
        world.roll_out()
    assert world.kept.found[NAME]["spec"] == changed[0]["spec"]
    assert (
        world.kept.found[NAME]["metadata"]["annotations"] == (changed[0]["metadata"]["annotations"])
    )


def test_a_deleted_service_ends_the_rollout(mode):
    world = World(mode)

    def someone(called):
        if called == "patch" and world.store.calls > 8:
            world.kept.found.clear()

    world.store.before = someone
    with pytest.raises(Interfered, match="someone deleted service reviews"):
        world.roll_out()
    assert world.kept.found == {}


def test_another_rollouts_canary_is_not_touched(mode):
    world = World(mode)
    world.store.kill_at = 12
    with pytest.raises(Killed):
        world.roll_out("4")
    world.store.kill_at = None
    before = world.final
    with pytest.raises(UserError, match="is trying version 4 at 10 percent; let that rollout end"):
        world.roll_out("5")
    assert world.final == before


def test_a_service_in_the_other_mode_is_refused(mode):
    world = World(mode)
    world.mode = {"Standard": "Knative", "Knative": "Standard"}[mode]
    with pytest.raises(UserError, match=f"runs in {mode} mode, not in {world.mode}"):
        world.roll_out()


def test_a_service_that_changes_all_the_time_is_given_up(mode):
    world = World(mode)
    world.store.before = lambda what: (
        world.kept.patch(NAME, {"metadata": {"labels": {"n": str(world.store.calls)}}})
        if what == "patch"
        else None
    )
    with pytest.raises(UserError, match="was changed by someone else at each of 50 attempts"):
        world.roll_out()


def test_a_cluster_that_drops_canaries_is_told():
    world = World("Standard")
    patch = world.kept.patch

    def pruning(name, change):
        return patch(name, {**change, "spec": {**change.get("spec", {}), "canary": None}})

    world.kept.patch = pruning
    with pytest.raises(UserError, match=r"KServe is older than 0\.20 and knows no spec\.canary"):
        world.roll_out()
    assert world.shares == {"3": 100}


def test_labelled_reviews_are_asked_for_both_versions(mode):
    world = World(mode)
    asked = []
    world.roll_out(labelled=lambda stable, canary: asked.append((stable, canary)))
    assert set(asked) == {("3", "4")}


def test_a_service_that_serves_but_is_down_is_told(mode):
    world = World(mode)
    world.kserve.broken.add("3")
    with pytest.raises(UserError, match=r"not within 60 s|cannot start"):
        world.roll_out("3")
    assert NAME in world.kept.found


def test_limits_are_those_that_were_given(mode):
    world = World(mode)
    world.time.errors["4"] = 0.3
    assert world.roll_out(limits=replace(Limits(), error_rate=0.9)).decision == "promote"
