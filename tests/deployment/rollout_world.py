"""A service in memory: KServe's rules, traffic that follows its split, and versions to roll out."""

import copy
import random
from collections import defaultdict

import pytest

from components.deployment.ab_run import run_ab_test
from components.deployment.asking.labelled_reviews import LabelledReview
from components.deployment.asking.labelled_traffic import Answer
from components.deployment.judging.ab_test import Plan
from components.deployment.judging.observations import NotObserved, Observations
from components.deployment.kserve.guarded_canary import GuardedCanary
from components.deployment.kserve.service_store import Conflict
from components.deployment.roll_out import roll_out
from components.shared.machine.errors import UserError
from components.shared.records.serving_metrics import SECONDS_BUCKETS
from tests.stand_ins.api_server import Objects, Refused, Time
from tests.stand_ins.kserve_controller import KServe

NAME = "reviews"
PLAN = Plan(baseline=0.6, smallest_effect=0.25)
REVIEWS = [LabelledReview(None, f"review {number}", "positive") for number in range(400)]
EVIDENCE = "review-sentiment/stable-evidence"


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

    def killed(self, run, *, at=None, when=lambda: False):
        """Run; the process is killed before a call, at its number or once a condition holds."""

        def kill(_):
            if when():
                raise Killed

        self.store.kill_at, self.store.before = at, kill
        with pytest.raises(Killed):
            run()
        self.store.kill_at = self.store.before = None

    def killed_and_run_again(self, run, at):
        """What comes of it in the end."""
        self.store.kill_at = at
        try:
            return run()
        except Killed:
            pass
        self.store.kill_at = None
        return run()

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
