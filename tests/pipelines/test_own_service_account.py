"""The steps that launch things, under the pipelines' own service account, on a real API server.

Role, quota, Pod Security and the published schemas decide. What controllers would do is done by
small ones with an administrator's rights; no pod runs.
"""

import subprocess
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from components.deployment.kserve.service import inference_services
from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT
from components.shared.kubernetes.objects import Objects
from components.training.on_nodes.train_job import TRAIN_JOBS
from components.training.tuning.search import tune
from tests.deployment.rollout_world import NAME, World
from tests.manifests.conftest import write_kustomization
from tests.shared.kubernetes.test_shared_folder import write_model
from tests.stand_ins.katib import Katib
from tests.stand_ins.real_namespace import KUBECONFIG, MARKS, RealNamespace
from tests.stand_ins.step_world import RUN, WORKFLOW
from tests.stand_ins.trainer import Trainer
from tests.training.conftest import small_set, tokenizer  # noqa: F401 - fixtures
from tests.training.on_nodes.test_launch import MADE, train_options

RESTRICTED = {"allowPrivilegeEscalation": False, "runAsNonRoot": True}
RESTRICTED |= {"capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}

pytestmark = MARKS


class Namespace(RealNamespace):
    def __init__(self, folder, overlay):
        super().__init__()
        write_kustomization(folder, overlay, ["enforce-pod-security"], namespace=self.name)
        self.kubectl("apply", "--server-side", "--validate=strict", "-k", str(folder))

    def kubectl(self, *words):
        command = ["kubectl", "--kubeconfig", KUBECONFIG, "--namespace", self.name, *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def make_step_pod(self):
        container = {"name": "main", "image": "steps:1", "securityContext": RESTRICTED}
        amounts = {"cpu": "1", "memory": "1Gi"}
        container["resources"] = {"requests": amounts, "limits": amounts}
        metadata = {"name": "step", "labels": {"pipeline/runid": RUN}}
        pod = {
            "metadata": {**metadata, "ownerReferences": [WORKFLOW]},
            "spec": {"serviceAccountName": SERVICE_ACCOUNT, "containers": [container]},
        }
        self.core.create_namespaced_pod(self.name, pod)

    @contextmanager
    def controlled(self, kind, status):
        """Meanwhile, the objects of a kind get the status that a controller computes."""
        ended = threading.Event()

        def work():
            while not ended.wait(0.1):
                for found in self.listed(*kind):
                    self.set_status((*kind[:2], self.name, kind[2]), found, status(found))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def set_status(self, where, found, status):
        from kubernetes.client.exceptions import ApiException

        try:
            self.custom.replace_namespaced_custom_object_status(
                *where, found["metadata"]["name"], {**found, "status": status}
            )
        except ApiException as error:
            if error.status not in (404, 409):  # deleted or changed meanwhile
                raise

    def listed(self, group, version, plural):
        return self.custom.list_namespaced_custom_object(group, version, self.name, plural)["items"]


@pytest.fixture(scope="module", params=["small", "gpu", "profile"])
def namespace(request, tmp_path_factory):
    made = Namespace(tmp_path_factory.mktemp("overlay"), request.param)
    made.make_step_pod()
    yield made
    made.delete()


@pytest.fixture(autouse=True)
def as_a_step(namespace, tmp_path, monkeypatch):
    (tmp_path / "state").mkdir()
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    # The client reads KUBECONFIG once, when it is imported.
    default = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
    credentials = namespace.kubeconfig(tmp_path, namespace.token(SERVICE_ACCOUNT))
    monkeypatch.setattr(default, credentials)
    monkeypatch.setenv("KFP_POD_NAME", "step")
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))


KATIB = ("kubeflow.org", "v1beta1")


class TrialsOf:
    """Katib, which also makes the Trials."""

    def __init__(self, namespace):
        self.namespace, self.katib = namespace, Katib(scores=("0.6", "0.7"))

    def status(self, experiment):
        found = self.katib.status(experiment)
        where = (*KATIB, self.namespace.name, "trials")
        there = {one["metadata"]["name"]: one for one in self.namespace.listed(*KATIB, "trials")}
        for name, trial in self.katib.trials.items():
            if name not in there:
                spec = {**experiment["spec"]["trialTemplate"], **trial["spec"]}
                run = {"objective": experiment["spec"]["objective"], "runSpec": spec["trialSpec"]}
                whole = {**trial, "spec": {**trial["spec"], **run}}
                there[name] = self.namespace.custom.create_namespaced_custom_object(*where, whole)
            self.namespace.set_status(where, there[name], trial["status"])
        return found


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 1), (2, 4)], ids=["job", "trainjob"])
def test_tuning_in_katib(namespace, small_set, tmp_path, monkeypatch, nodes, gpus):  # noqa: F811
    monkeypatch.setenv("TUNING_BACKEND", "katib")
    with namespace.controlled((*KATIB, "experiments"), TrialsOf(namespace).status):
        given = (small_set, "minilm", {"seed": 3}, 2, tmp_path / "trials.json")
        best, scores = tune(*given, nodes=nodes, gpus_per_node=gpus)
    assert scores["macro_f1"] == pytest.approx(0.7)
    assert best["seed"] == 3
    (experiment,) = namespace.listed(*KATIB, "experiments")
    assert experiment["metadata"]["ownerReferences"] == [WORKFLOW]
    for plural in ("experiments", "trials"):
        namespace.kubectl("delete", f"{plural}.kubeflow.org", "--all")


def test_training_in_a_train_job(namespace, small_set, tmp_path):  # noqa: F811
    from components.training.fine_tune import fine_tune_at_scale

    def train(job):
        folder = tmp_path / "state" / "launched" / job["metadata"]["name"] / "model"
        options = train_options({"epochs": 2})
        facts = {"data_fingerprint": "f", "max_tokens": 80}
        write_model(folder, "minilm", options, facts, **MADE, resumed_at=0)

    kind = ("trainer.kubeflow.org", "v1alpha1", "trainjobs")
    with namespace.controlled(kind, partial(_dated, Trainer(train))):
        given = ("minilm", {"epochs": 2}, tmp_path / "model", {"data_fingerprint": "f"}, 80)
        result = fine_tune_at_scale(small_set, *given, nodes=2, gpus_per_node=4)
    assert result.macro_f1 == MADE["best"]["macro_f1"]
    # Deleted in the foreground: the API server needs a moment.
    jobs = Objects(namespace.core.api_client, namespace.name, TRAIN_JOBS)
    jobs.wait_until_gone(f"review-sentiment-train-{RUN[:8]}", 30)


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_a_rollout_with_a_canary(namespace, mode):
    world = World(mode, empty=True)
    world.objects = inference_services()
    kind = ("serving.kserve.io", "v1beta1", "inferenceservices")
    with namespace.controlled(kind, partial(_dated, world.kserve)):
        assert world.roll_out("3").decision == "first_deployment"
        assert world.roll_out("4").decision == "promote"
        world.time.errors["5"] = 0.5
        assert world.roll_out("5").decision == "roll_back"
    world.objects.delete(NAME)


def _dated(controller, thing):
    """The status that a stand-in computes, as the published schemas want it."""
    found = controller.status(thing)
    for one in found.get("conditions", []):
        one["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    return found
