import json
import logging
import shutil
import sys
from pathlib import Path

import pytest

from components.shared.kubernetes.namespace_objects import TRAINING_RUNTIME
from components.shared.kubernetes.shared_folder import SharedFolder
from components.shared.machine.errors import UserError
from components.shared.records.model_folder import check_model_folder, read_training_facts
from components.training.fine_tune import TrainingResult
from components.training.on_nodes import launch as train_job_step
from components.training.on_nodes.launch import PERMISSIONS, describe, fine_tune_on_nodes
from components.training.options import TrainingOptions
from tests.shared.kubernetes.test_shared_folder import write_model
from tests.stand_ins.api_server import Objects as Kept
from tests.stand_ins.step_world import WORKFLOW, StepWorld
from tests.stand_ins.trainer import Trainer

NAME = "review-sentiment-train-0123abcd"
BEST = {"macro_f1": 0.7, "accuracy": 0.8, "validation_loss": 0.5, "step": 30}
MADE = {"best": BEST, "history": [{"step": 30}], "speed": {"samples_per_second": 9.0}}


class World(StepWorld):
    """The world of a step in which a Trainer works."""

    def __init__(self, folder, training_set):
        self.model = folder / "model"
        self.trainer = Trainer(self.write_model)
        kind = ("trainer.kubeflow.org", "v1alpha1")
        self.jobs = Kept(self.trainer, resource=(*kind, "trainjobs"))
        self.runtimes = Kept(resource=(*kind, "trainingruntimes"))
        self.runtimes.found[TRAINING_RUNTIME] = {"metadata": {"name": TRAINING_RUNTIME}}
        super().__init__(folder, training_set, self.jobs, self.runtimes)

    def arguments(self, job):
        """What the pods were started with, paths as they are here."""
        args = (arg.replace("/state/", f"{self.volume}/") for arg in job["spec"]["trainer"]["args"])
        return dict(arg.split("=", 1) for arg in args)

    def write_model(self, job):
        arguments = self.arguments(job)
        copied = Path(arguments["--training-set"])
        assert copied.is_relative_to(self.volume)
        assert copied.read_bytes() == self.training_set.read_bytes()
        folder = SharedFolder(self.launched / job["metadata"]["name"], "")
        assert arguments["--output"] == str(folder.model)
        options = train_options({"epochs": int(arguments["--epochs"])})
        facts = json.loads(Path(arguments["--facts-file"]).read_text())
        write_model(folder.model, arguments["--base-model"], options, facts, **MADE, resumed_at=4)

    def step(self, **changes):
        given = {
            **{"training_set": self.training_set, "base_model": "minilm"},
            **{"options": train_options({"epochs": 2}), "model_folder": self.model},
            **{"facts": {"data_fingerprint": "f", "max_tokens": 80}},
            **{"nodes": 2, "gpus_per_node": 4},
        }
        fine_tune_on_nodes(**{**given, **changes})
        return TrainingResult.of(self.model, read_training_facts(self.model))

    def fail(self):
        """Let the training fail, and its pod stay."""
        self.trainer.__init__(lambda _: None, ends="Failed")
        labels = {"jobset.sigs.k8s.io/jobset-name": NAME}
        self.failed_pod(
            f"{NAME}-node-0-1-abcde", labels, "step 7 of 9\nCUDA out of memory\n", "node"
        )


def train_options(changes):
    return TrainingOptions.from_dict(changes).to_dict()


@pytest.fixture
def world(tmp_path, small_set, monkeypatch):
    world = World(tmp_path, small_set)
    world.enter(monkeypatch, train_job_step)
    yield world
    world.api.close()


def test_the_model_of_a_train_job_is_taken_over(world, caplog):
    caplog.set_level(logging.INFO)
    created = []
    world.trainer.train = lambda job: (created.append(job), world.write_model(job))
    result = world.step()
    (job,) = created
    part_of, component = (f"app.kubernetes.io/{label}" for label in ("part-of", "component"))
    assert job["metadata"] == job["metadata"] | {
        **{"name": NAME, "ownerReferences": [WORKFLOW]},
        "labels": {part_of: "review-sentiment", component: "training"},
    }
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    # Later than the step, which otherwise would find no pods to tell of.
    assert job["spec"]["activeDeadlineSeconds"] > 60 * train_job_step.DEADLINE_MINUTES
    assert result.model_folder == check_model_folder(world.model)
    assert result.macro_f1 == 0.7
    assert read_training_facts(world.model)["facts"] == {"data_fingerprint": "f", "max_tokens": 80}
    assert world.left_behind() == []
    # Until JobSet and snapshot are gone, too: another TrainJob of the name would take them for its.
    assert world.jobs.deletions == [(NAME, "Foreground")]
    lines = [record.getMessage() for record in caplog.records if NAME in record.getMessage()]
    assert lines == [
        f"launching TrainJob {NAME}; follow it with: kubectl logs -n reviews -f "
        f"-l jobset.sigs.k8s.io/jobset-name={NAME}",
        f"TrainJob {NAME}: waiting for its pods to run",
        f"TrainJob {NAME}: training, all its pods run",
        f"TrainJob {NAME}: complete",
    ]


@pytest.mark.parametrize(
    ("place", "killed_in"),
    [(train_job_step, "run_to_end"), (SharedFolder, "take_model"), (SharedFolder, "remove")],
)
def test_a_killed_step_finds_its_train_job_or_its_model(world, monkeypatch, place, killed_in):
    def killed(it, *manifest, **_):
        if place is train_job_step:
            it.create(manifest[0])
        sys.exit(137)

    with monkeypatch.context() as patched:
        patched.setattr(place, killed_in, killed)
        with pytest.raises(SystemExit):
            world.step()
    assert NAME in world.left_behind()
    shutil.rmtree(world.model, ignore_errors=True)
    assert world.step().macro_f1 == 0.7
    check_model_folder(world.model)
    assert world.trainer.trained == [NAME]
    assert world.jobs.uids == 1
    assert world.left_behind() == []


def test_a_failed_training_is_reported_with_its_last_lines(world):
    world.fail()
    with pytest.raises(UserError) as raised:
        world.step()
    assert str(raised.value).startswith(f"TrainJob {NAME} failed: ")
    assert "step 7 of 9 | CUDA out of memory" in str(raised.value)
    assert world.left_behind() == []
    assert not world.model.exists()
    assert world.api.permissions() == PERMISSIONS


def test_a_retry_goes_on_from_the_checkpoints_of_a_failed_training(world):
    def checkpoint(job):
        return Path(world.arguments(job)["--checkpoints"]) / "checkpoint.safetensors"

    def learn(job):
        checkpoint(job).parent.mkdir()
        checkpoint(job).write_bytes(b"weights")

    def resume(job):
        assert checkpoint(job).is_file()
        world.write_model(job)

    world.trainer.ends, world.trainer.train = "Failed", learn
    with pytest.raises(UserError, match=rf"stays in {world.launched / NAME}, a retry"):
        world.step()
    assert world.left_behind() == [NAME]
    world.trainer.__init__(resume)
    assert world.step().macro_f1 == 0.7
    assert world.left_behind() == []


def test_a_training_that_leaves_no_model_is_reported_and_may_be_tried_again(world):
    world.trainer.train = lambda _: None
    with pytest.raises(UserError, match=rf"ended without a model in .*{NAME}/model; see that Tr"):
        world.step()
    assert world.left_behind() == []


def test_a_missing_runtime_is_reported_and_nothing_is_left(world):
    world.runtimes.found.clear()
    with pytest.raises(
        UserError,
        match="namespace reviews has no TrainingRuntime review-sentiment-training; create it: "
        "kubectl apply -n reviews -k manifests/base/training",
    ):
        world.step()
    assert world.left_behind() == []


def test_a_wrong_scale_is_reported_before_the_cluster_is_asked(world):
    for scale, message in (({"nodes": 0}, "0 nodes"), ({"gpus_per_node": -1}, "-1 GPUs")):
        with pytest.raises(UserError, match=message):
            world.step(**scale)
    assert world.api.asked == []
    assert world.left_behind() == []


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (None, "waiting for its pods to run"),
        ({"conditions": [{"type": "Suspended", "status": "True"}]}, "suspended; whatever queues"),
        ({"jobsStatus": [{"name": "node", "ready": 1}]}, "training, all its pods run"),
        ({"conditions": [{"type": "Suspended", "status": "False"}]}, "waiting for its pods"),
        ({"conditions": [{"type": "Failed", "status": "True"}]}, "failed"),
    ],
)
def test_how_a_train_job_stands(status, said):
    assert describe({"status": status} if status else {}).startswith(said)
