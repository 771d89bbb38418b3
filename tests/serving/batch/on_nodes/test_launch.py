import logging
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from components.serving.batch.job import Job
from components.serving.batch.on_nodes import launch
from components.serving.batch.on_nodes.launch import PERMISSIONS, outcome, score_on_nodes
from components.serving.batch.score import score_reviews
from components.shared.machine.errors import UserError
from tests.serving.batch.conftest import scored
from tests.stand_ins.api_server import Objects as Kept
from tests.stand_ins.step_world import WORKFLOW, StepWorld

NAME = "review-sentiment-batch-0123abcd"


class KubeRay:
    """KubeRay as a step sees it: a cluster comes up, the job runs and ends."""

    def __init__(self, work, ends=("Complete", "SUCCEEDED"), message=""):
        self.work, self.ends, self.message = work, ends, message
        self.looks, self.worked = {}, []

    def status(self, job):
        uid = job["metadata"]["uid"]
        looks = self.looks[uid] = self.looks.get(uid, 0) + 1
        if looks < 3:
            return {"jobDeploymentStatus": "Initializing"}
        if looks < 5:
            return {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
        if uid not in self.worked:
            self.worked.append(uid)
            self.work(job)
        deployment, status = self.ends
        return {"jobDeploymentStatus": deployment, "jobStatus": status, "message": self.message}


class World(StepWorld):
    """The world of a step in which KubeRay works, and scores in this process."""

    def __init__(self, folder, reviews, model):
        self.reviews, self.model, self.made = reviews, model, folder / "made"
        self.kuberay = KubeRay(self.score)
        self.jobs = Kept(self.kuberay, resource=("ray.io", "v1", "rayjobs"))
        super().__init__(folder, reviews, self.jobs)

    def score(self, job):
        words = shlex.split(job["spec"]["entrypoint"])[3:]
        given = dict(word.removeprefix("--").split("=", 1) for word in words)
        at = {key: value.replace("/state/", f"{self.volume}/") for key, value in given.items()}
        assert Path(at["reviews"]).read_bytes() == self.reviews.read_bytes()
        named = {"model_name": at["model-name"], "model_version": at["model-version"]}
        paths = at["reviews"], at["model-folder"], at["folder"]
        return score_reviews(*paths, **named, engine=at["engine"])

    def step(self):
        named = {"model_name": "sentiment", "model_version": "3", "engine": "torch"}
        score_on_nodes(self.reviews, self.model, self.made, **named, nodes=3)
        return scored(self.made)


@pytest.fixture
def world(tmp_path, reviews, served_folder, monkeypatch):
    world = World(tmp_path, reviews, served_folder)
    world.enter(monkeypatch, launch)
    yield world
    world.api.close()


def test_the_predictions_of_a_ray_job_are_taken_over_and_nothing_is_left(world, caplog):
    caplog.set_level(logging.INFO)
    jobs = []
    world.kuberay.work = lambda job: (jobs.append(job), world.score(job))
    assert [row["line"] for row in world.step()] == list(range(2, 102))
    (job,) = jobs
    assert job["metadata"]["name"] == NAME
    assert job["metadata"]["ownerReferences"] == [WORKFLOW]
    workers = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
    assert workers["replicas"] == 3
    assert world.left_behind() == []
    assert world.jobs.deletions == [(NAME, "Foreground")]
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if line.endswith(("Initializing", "Running", "Complete"))] == [
        f"RayJob {NAME}: {state}" for state in ("Initializing", "Running", "Complete")
    ]
    assert f"RayJob {NAME}: 0 of 100 reviews are scored" in said


def test_what_a_failed_job_said_is_told_and_what_it_scored_is_kept_for_a_retry(world):
    job = Job.of(world.reviews, world.model, "sentiment", "3")

    def fails(manifest):
        world.score(manifest)
        made = world.launched / NAME / "predictions"
        for gone in (job.part(made, 6), made / "_summary.json"):
            gone.unlink()

    log = "Job entrypoint command failed with exit code 2, last logs:\nerror: no space left\n"
    world.kuberay.__init__(fails, ("Failed", "FAILED"), log)
    with pytest.raises(UserError) as raised:
        world.step()
    assert str(raised.value).startswith(f"RayJob {NAME} failed: error: no space left; what is scor")
    assert world.left_behind() == [NAME]  # The folder; the RayJob is gone.
    assert not world.jobs.found
    world.kuberay.__init__(world.score)
    kept = job.part(world.launched / NAME / "predictions", 0).stat().st_mtime_ns
    seen = []
    world.kuberay.work = lambda job_: seen.append(world.score(job_))
    assert len(world.step()) == 100
    assert seen[0].shards_before == 6
    assert kept


def test_without_a_word_of_its_own_the_pods_are_asked(world):
    world.kuberay.__init__(lambda _: None, ("Failed", ""))
    labels = {"app.kubernetes.io/instance": NAME}
    world.failed_pod(f"{NAME}-head", labels, "ray: command not found\n", "ray-head")
    with pytest.raises(UserError, match="ray: command not found"):
        world.step()
    assert world.api.permissions() == PERMISSIONS


def test_a_killed_step_finds_its_ray_job(world, monkeypatch):
    def killed(jobs, manifest, *_, **__):
        jobs.create(manifest)
        sys.exit(137)

    with monkeypatch.context() as patched:
        patched.setattr(launch, "run_to_end", killed)
        with pytest.raises(SystemExit):
            world.step()
    assert len(world.step()) == 100
    assert len(world.kuberay.worked) == world.jobs.uids == 1
    assert world.left_behind() == []


def test_an_interrupted_step_takes_its_ray_job_along(world, monkeypatch):
    def stops(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "outcome", stops)
    with pytest.raises(KeyboardInterrupt):
        world.step()
    assert not world.jobs.found


def test_a_job_that_ends_without_predictions_names_the_volume(world):
    world.kuberay.__init__(lambda _: shutil.rmtree(world.launched / NAME / "model"))
    with pytest.raises(UserError, match=r"ended without predictions in .* the same claim"):
        world.step()


@pytest.mark.parametrize(
    ("deployment", "status", "well"),
    [
        ("Complete", "SUCCEEDED", True),
        ("Complete", "STOPPED", False),
        ("Failed", "FAILED", False),
        ("ValidationFailed", "", False),
        ("Retrying", "FAILED", None),
        ("", "", None),
    ],
)
def test_how_a_ray_job_ended(deployment, status, well):
    found = {"status": {"jobDeploymentStatus": deployment, "jobStatus": status}}
    assert outcome(found) is well
    assert outcome({}) is None
