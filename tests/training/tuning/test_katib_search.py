import json
import logging
import sys

import pytest

from components.shared.machine.errors import UserError
from components.training.options import TrainingOptions
from components.training.tuning import katib_search as step
from components.training.tuning.experiment import experiment_file
from components.training.tuning.katib_search import PERMISSIONS, katib_search
from tests.stand_ins.api_server import Refused
from tests.stand_ins.katib import EXPERIMENTS, Katib, faults_of
from tests.stand_ins.kept_objects import Objects
from tests.stand_ins.step_world import WORKFLOW, StepWorld

NAME = "review-sentiment-tune-0123abcd"
INJECTED = {"katib.kubeflow.org/metrics-collector-injection": "enabled"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
COLLECTOR_LOG = """\
I1121 11:53:12.123456      14 main.go:396] Trial Name: x
I1121 11:53:13.000001      14 main.go:139] epoch 0.5: validation macro-F1 0.4
W1121 11:53:13.000002      14 file-metricscollector.go:93] Metrics will not have timestamp
I1121 11:53:14.123456      14 main.go:139] error: CUDA out of memory
F1121 11:53:15.123456      14 main.go:421] Failed to wait for worker container: unable to read
goroutine 1 [running]:
"""


class World(StepWorld):
    """The world of a step in which a Katib works."""

    def __init__(self, folder, training_set):
        self.katib = Katib()
        self.labels = {**INJECTED, **RESTRICTED}
        self.seen = []
        refusal = lambda experiment: "; ".join(faults_of(experiment))  # noqa: E731
        self.kept = Objects(self, resource=EXPERIMENTS, webhook=refusal)
        super().__init__(folder, training_set, self.kept)
        self.api.extra = self.answer

    def status(self, experiment):
        if not self.seen:
            self.seen.append(experiment)
            copied = self.launched / NAME / "training_set.parquet"
            assert copied.read_bytes() == self.training_set.read_bytes()
        return self.katib.status(experiment)

    def answer(self, method, path, query, body):
        if path.endswith("/trials"):
            name = query["labelSelector"][0].partition("=")[2]
            return self.katib.listed(name)
        if path == "/api/v1/namespaces/reviews":
            if self.labels is None:
                raise Refused(403, "Forbidden", 'User "me" cannot get resource "namespaces"')
            return {"kind": "Namespace", "metadata": {"name": "reviews", "labels": self.labels}}
        return None

    def search(self, trials=3, **changes):
        options = TrainingOptions(seed=3).to_dict()
        return katib_search(
            self.training_set, "minilm", options, experiment_file(), trials, **changes
        )

    def fail(self, trial):
        """Let the pod of a failed trial stay."""
        of = "katib.kubeflow.org"
        labels = {f"{of}/experiment": NAME, f"{of}/trial": trial}
        containers = ("training", "metrics-logger-and-collector")
        self.failed_pod(f"{trial}-p", labels, COLLECTOR_LOG, *containers)


@pytest.fixture
def world(tmp_path, small_set, monkeypatch):
    world = World(tmp_path, small_set)
    world.enter(monkeypatch, step)
    yield world
    world.api.close()


def test_a_search_gives_its_trials_in_the_form_of_the_one_on_one_machine(world, caplog):
    caplog.set_level(logging.INFO)
    world.katib.scores = ("0.6", "0.8", "nan")
    table = world.search()
    assert [trial["status"] for trial in table] == ["finished", "finished", "failed"]
    parameters = {
        **{"learning_rate": 3e-05, "epochs": 2, "batch_size": 16, "class_weights": "none"},
        **{"label_smoothing": 0.0, "layer_decay": 0.8},
    }
    assert table[1] == {
        **{"trial": 2, "parameters": parameters, "status": "finished", "seconds": 600.0},
        "metrics": {"macro_f1": 0.8, "accuracy": 0.8},
    }
    assert isinstance(table[1]["parameters"]["epochs"], int)
    assert table[2]["reason"] == "it ended without a finite macro_f1"
    json.dumps(table, allow_nan=False)
    assert [method for method, _ in world.api.asked].count("POST") == 2  # one of them dry
    # It stays for Katib's pages, and goes with the run; nothing else does.
    (experiment,) = world.seen
    assert experiment["metadata"]["ownerReferences"] == [WORKFLOW]
    assert world.left_behind() == [NAME]
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("trial 2 finished: learning_rate 3e-05, ") for line in lines)
    assert any("1 of 3 trials done (1 finished, 0 failed, 0 stopped early)" in x for x in lines)


def test_a_step_that_was_killed_adopts_its_search(world, monkeypatch):
    def killed(experiments, manifest, *_, **__):
        experiments.create(manifest)
        sys.exit(137)

    with monkeypatch.context() as patched:
        patched.setattr(step, "run_to_end", killed)
        with pytest.raises(SystemExit):
            world.search()
    assert len(world.search()) == 3
    assert world.kept.uids == 1


def test_trials_that_were_stopped_early_count_and_are_reported(world):
    world.labels = INJECTED
    world.katib.ends = ("Succeeded", "EarlyStopped", "Succeeded")
    table = world.search()
    assert [trial["status"] for trial in table] == ["finished", "stopped early", "finished"]
    assert table[1]["seconds"] == 600.0


@pytest.mark.parametrize(
    ("labels", "early"),
    [
        (INJECTED, True),
        (INJECTED | RESTRICTED, False),
        (INJECTED | RESTRICTED | {"review-sentiment/pod-security-defaults": "enabled"}, True),
        (None, False),
    ],
)
def test_trials_are_stopped_early_where_katibs_service_is_known_to_be_admitted(
    world, labels, early
):
    world.labels = labels
    assert len(world.search()) == 3
    assert ("earlyStopping" in world.seen[0]["spec"]) == early


def test_a_failed_trial_says_why_and_the_search_goes_on(world):
    world.katib.ends = ("Failed", "Succeeded")
    world.fail(f"{NAME}-z0")
    failed, *others = world.search()
    lines = "Trial Name: x | epoch 0.5: validation macro-F1 0.4 | error: CUDA out of memory"
    assert failed["reason"] == lines
    assert failed["metrics"] == {}
    assert [trial["status"] for trial in others] == ["finished", "finished"]


@pytest.mark.parametrize(
    ("ends", "trials", "reason"),
    [
        (["Failed"], 3, "3 of 3 trials failed; the last one: .*error: CUDA out of memory$"),
        (["MetricsUnavailable"], 3, "3 of 3 .*: it printed no metrics$"),
        (["Killed"], 3, "3 of 3 .*: it was killed$"),
        (["Succeeded", "Failed"], 8, "3 of 4 trials failed; the last one: it failed"),
    ],
)
def test_too_many_failures_end_a_search_with_the_last_reason(world, ends, trials, reason):
    world.katib.ends = ends
    if "CUDA" in reason:
        world.fail(f"{NAME}-x2")
    with pytest.raises(UserError, match=rf"^Experiment {NAME} failed: {reason}"):
        world.search(trials=trials)
    assert world.left_behind() == []
    assert world.kept.deletions == [(NAME, "Foreground")]


def test_the_webhooks_refusal_is_reported_and_nothing_is_created(world):
    world.kept.webhook = lambda _: "spec.trialTemplate: primaryContainerName must be specified"
    with pytest.raises(UserError, match=r"refuses Experiment .*primaryContainerName must be"):
        world.search()
    assert world.kept.uids == 0
    assert world.left_behind() == []


def test_pods_that_cannot_be_made_end_a_search_long_before_its_deadline(world):
    world.katib.stuck = True
    event = {
        "metadata": {"name": "e", "namespace": "reviews"},
        "involvedObject": {"kind": "Job", "name": f"{NAME}-z0"},
        "message": 'pods "x" is forbidden: violates PodSecurity "restricted"',
        **{"reason": "FailedCreate", "type": "Warning"},
    }
    world.api.events = [event]
    with pytest.raises(UserError, match="injectSecurityContext"):
        world.search()
    assert world.time.now < 60 * step.DEADLINE_MINUTES / 10
    assert world.left_behind() == []


def test_a_namespace_without_katibs_label_is_refused(world):
    world.labels = RESTRICTED
    with pytest.raises(UserError, match=r"kubectl label namespace reviews katib\.kubeflow\.org"):
        world.search()
    assert world.seen == []
    assert world.left_behind() == []


def test_its_permissions_are_what_it_asks_for(world):
    world.katib.ends = ("Failed",)
    world.fail(f"{NAME}-z0")
    with pytest.raises(UserError):
        world.search()
    world.katib.stuck = True
    with pytest.raises(UserError):
        world.search(deadline_minutes=5)
    own = ("GET", "/api/v1/namespaces/reviews")
    world.api.asked = [asked for asked in world.api.asked if asked != own]
    assert {**world.api.permissions(), ("", "namespaces"): ("get",)} == PERMISSIONS
