"""A service in memory: KServe's rules, traffic that follows its split, and versions to try."""

import copy
import random
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import pytest

from components.deployment.ab_test import AbJudge, AbTestOptions
from components.deployment.asking.labelled import Answer, LabelledReview
from components.deployment.judging.observations import NotObserved, Observations
from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.kserve.service import KServeService
from components.deployment.rollout import CanaryJudge, RolloutOptions
from components.deployment.service import Candidate
from components.deployment.tryout import Tryout
from components.shared.kubernetes.refusals import Conflict
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS
from components.shared.records.serving_metrics import SECONDS_BUCKETS
from tests.stand_ins.api_server import Time
from tests.stand_ins.kept_objects import Objects, Refused, merge_patch
from tests.stand_ins.kserve_controller import KServe

NAME = "reviews"
PLAN = {"baseline": 0.6, "smallest_effect": 0.25}
REVIEWS = [LabelledReview(None, f"review {number}", "positive") for number in range(400)]
EVIDENCE = "review-sentiment/stable-evidence"
FOLDER = Path("/models/folder")


class Killed(BaseException):
    """The process was killed: nothing may catch it."""


class MemoryObjects:
    """The stand-in's objects without HTTP; the process is killed before call number `kill_at`."""

    def __init__(self, kept, time):
        self.kept, self.time = kept, time
        self.calls, self.kill_at, self.before = 0, None, None

    def _called(self, what, do=None):
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        if self.before:
            self.before(what)
        try:
            return do() if do else None
        except Refused as refused:
            if refused.code in (404, 409):
                raise Conflict from None
            raise UserError(str(refused)) from None

    def read(self, name):
        self._called("read")
        return self.kept.read(name) if name in self.kept.found else None

    def create(self, service):
        return self._called("create", lambda: self.kept.create(service))

    def patch(self, name, change, resource_version):
        guarded = merge_patch(change, {"metadata": {"resourceVersion": resource_version}})
        return self._called("patch", lambda: self.kept.patch(name, guarded))

    def delete(self, name, *, uid):
        self._called("delete", lambda: self.kept.delete(name, {"preconditions": {"uid": uid}}))

    def wait(self, name, reached, deadline_seconds):
        self._called("wait")
        until = self.time.now + deadline_seconds
        while name in self.kept.found:
            if reached(self.kept.read(name)):
                return
            if self.time.now >= until:
                raise UserError(f"not within {deadline_seconds:.0f} s: {self.explain(name)}")
            self.time.sleep(5)
        raise UserError("gone")

    def explain(self, name):
        return "no pod started"


class Traffic(Time):
    """Requests that are split as the cluster says and mirrored to a shadow, while time passes.

    By version: the share of failed requests, the bucket of the answers, and who is not seen.
    """

    def __init__(self, kserve, kept):
        super().__init__()
        self.kserve, self.kept, self.per_second = kserve, kept, 400
        self.errors, self.edges, self.blind = {}, {}, set()
        self.requests = defaultdict(float)

    def sleep(self, seconds):
        super().sleep(seconds)
        shares = {version: share for version, share in self.kserve.weights.items() if share}
        for service in self.kept.found.values():
            notes = service["metadata"]["annotations"]
            if notes.get("review-sentiment/shadow") == "true":
                shares.setdefault(notes["review-sentiment/canary-version"], 100)
        for version, share in shares.items():
            self.requests[version] += seconds * self.per_second * share / 100

    def read(self, version):
        if version in self.blind:
            raise NotObserved(f"version {version} is not seen")
        requests = int(self.requests[version])
        errors = int(requests * self.errors.get(version, 0))
        latency = [0] * (len(SECONDS_BUCKETS) + 1)
        latency[self.edges.get(version, 5)] = requests - errors
        third = requests // 3
        return Observations(requests, errors, 0, tuple(latency), SENTIMENTS.counted([third] * 3))


class World:
    """A cluster with version 3 on it, unless told otherwise."""

    def __init__(self, mode, broken=(), empty=False, settings=None):
        self.kserve = KServe(broken=broken)
        self.kept = Objects(self.kserve)
        self.time = Traffic(self.kserve, self.kept)
        self.objects = MemoryObjects(self.kept, self.time)
        self.mode, self.settings = mode, settings or ServiceSettings()
        if not empty:
            self.roll_out("3")
        self.objects.calls = 0

    def service(self, version="4"):
        candidate = Candidate(version, FOLDER, f"s3://m/{version}", f"d{version}")
        given = self.settings, self.mode, 60, self.time.sleep
        return KServeService(self.objects, NAME, candidate, *given)

    def roll_out(self, version="4", after_step=lambda _: None, labelled=None, **options):
        chosen = RolloutOptions(**{"step_deadline_seconds": 1200.0, **options})
        judge = CanaryJudge(self.time.read, version, chosen, sleep=self.time.sleep)
        judge.labelled = labelled or judge.labelled
        pace = chosen.look_every_seconds, chosen.step_deadline_seconds, chosen.retry_rejected
        return Tryout(
            self.service(version), judge, *pace, after_step=after_step, clock=self.time.clock
        ).run()

    def killed(self, run, *, at=None, when=lambda: False):
        """Run; the process is killed before a call, at its number or once a condition holds."""

        def kill(_):
            if when():
                raise Killed

        self.objects.kill_at, self.objects.before = at, kill
        with pytest.raises(Killed):
            run()
        self.objects.kill_at = self.objects.before = None

    def killed_and_run_again(self, run, at):
        """What comes of it in the end."""
        self.objects.kill_at = at
        with suppress(Killed):
            return run()
        self.objects.kill_at = None
        return run()

    @property
    def annotations(self):
        return self.kept.found[NAME]["metadata"]["annotations"]

    @property
    def noted(self):
        """The annotations of our own, by the end of their names."""
        prefix = "review-sentiment/"
        found = self.annotations.items()
        return {k.removeprefix(prefix): v for k, v in found if k.startswith(prefix)}

    @property
    def spec(self):
        return self.kept.found[NAME]["spec"]

    @property
    def replicas(self):
        """Pods of the canary in Standard mode, by its share, now."""
        canaries = self.spec.get("canary") or []
        return {one["trafficPercent"]: one["predictor"]["minReplicas"] for one in canaries}

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
    """A world whose versions are right more or less often, and where answers may be lost."""

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

    def test(self, version="4", reviews=REVIEWS, ask=None, **options):
        chosen = AbTestOptions(**{**PLAN, **options})
        given = self.time.read, version, chosen, reviews, ask or self.ask, self.time.sleep
        self.judge = AbJudge(*given)
        pace = chosen.look_every_seconds, chosen.deadline_seconds, chosen.retry_rejected
        return Tryout(
            self.service(version), self.judge, *pace, first_deployment=False, clock=self.time.clock
        ).run()
