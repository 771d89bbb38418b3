import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import permissions, run_to_end
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import PERMISSIONS, OwnRun, own_run
from components.shared.kubernetes.refusals import Conflict
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError
from tests.deployment.conftest import until
from tests.shared.kubernetes.conftest import TRAIN_JOBS, conditions, container, outcome, train_job
from tests.stand_ins.real_namespace import MARKS, RealNamespace
from tests.stand_ins.step_world import WORKFLOW

pytestmark = MARKS
METADATA = {"name": "job-node-0-x", "labels": {"app": "job", "pipeline/runid": "run-1"}}
POD = {
    "metadata": {**METADATA, "ownerReferences": [WORKFLOW]},
    "spec": {"containers": [{"name": "node", "image": "training:1"}]},
}


class Cluster(RealNamespace):
    """What an administrator does in it, and a user who may only launch."""

    def __init__(self, folder):
        super().__init__()
        self.make("runner")
        granted = permissions(TRAIN_JOBS)
        granted |= {key: tuple({*granted.get(key, ()), *PERMISSIONS[key]}) for key in PERMISSIONS}
        self.rules = [
            {"apiGroups": [group], "resources": [plural], "verbs": list(verbs)}
            for (group, plural), verbs in granted.items()
        ]
        self.bind("runner", {"metadata": {"name": "runner"}, "rules": self.rules})
        self.client = self.connect(folder, self.token("runner"))
        given, policy = (self.client, self.name, TRAIN_JOBS), RetryPolicy(seconds=5.0)
        self.jobs = Objects(*given, pods="app={name}", retry_policy=policy)

    def connect(self, folder, token, **server):
        return connect(kubeconfig=self.kubeconfig(folder, token, **server))[0]

    def set_status(self, **holds):
        said = conditions(**holds)
        for one in said["conditions"]:
            one |= {"reason": "Test", "message": "as said"}
            one["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        self.custom.patch_namespaced_custom_object_status(*self.job(), {"status": said})

    def job(self):
        return TRAIN_JOBS.group, TRAIN_JOBS.version, self.name, TRAIN_JOBS.plural, "job"

    def break_pod(self):
        """A pod that failed, and an event about it, as a kubelet would tell."""
        self.core.create_namespaced_pod(self.name, POD)
        ended = container(terminated={"exitCode": 1})
        status = {"phase": "Failed", "containerStatuses": [ended]}
        self.core.patch_namespaced_pod_status("job-node-0-x", self.name, {"status": status})
        about = {"kind": "Pod", "name": "job-node-0-x", "namespace": self.name}
        event = {"reason": "OOMKilling", "message": "out of memory", "type": "Warning"}
        metadata = {"metadata": {"name": "job-node-0-x.1"}, "involvedObject": about}
        self.core.create_namespaced_event(self.name, {**metadata, **event})


@pytest.fixture
def real(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.client.close()
    made.delete()


@contextmanager
def meanwhile(*steps):

    def work():
        for step in steps:
            time.sleep(0.5)
            step()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_failure_is_explained_and_nothing_left(real, monkeypatch):
    real.break_pod()
    with meanwhile(lambda: real.set_status(Failed=True)), pytest.raises(UserError) as raised:
        run_to_end(real.jobs, train_job(), outcome, deadline_seconds=60)
    for words in (
        "TrainJob job failed: Failed is True (Test: as said)",
        "event OOMKilling of job-node-0-x: out of memory",
        "container node of pod job-node-0-x failed, its last lines: none",
    ):
        assert words in str(raised.value)
    real.jobs.wait_until_gone("job", 30)
    monkeypatch.setenv("KFP_POD_NAME", "job-node-0-x")
    assert own_run(real.client, real.name) == OwnRun("run-1", WORKFLOW)


def test_a_finalizer_keeps_it_and_that_is_reported(real):
    job = train_job()
    job["metadata"]["finalizers"] = ["example.com/keep"]
    made = real.jobs.create(job)
    with pytest.raises(Conflict, match="the UID in the precondition"):
        real.jobs.delete("job", uid="another")
    real.jobs.delete("job", uid=made["metadata"]["uid"], foreground=True)
    assert real.jobs.read("job")["metadata"]["deletionTimestamp"]
    with pytest.raises(UserError, match="look at its finalizers"):
        real.jobs.wait_until_gone("job", 3)
    free = {"metadata": {"finalizers": None}}
    real.custom.patch_namespaced_custom_object(*real.job(), free)
    real.jobs.wait_until_gone("job", 30)


def test_a_watch_from_a_forgotten_version_is_begun_anew(real):
    real.jobs.create(train_job())
    versions = ["1"]
    inner = real.client.call_api

    def call_api(path, method, path_params, query, *rest, **options):
        if versions and ("watch", True) in query:
            old = versions.pop()
            query = [(k, old if k == "resourceVersion" else v) for k, v in query]
        return inner(path, method, path_params, query, *rest, **options)

    real.client.call_api = call_api
    with meanwhile(lambda: None, lambda: real.set_status(Complete=True)):
        assert real.jobs.wait("job", outcome, 60)
    assert versions == []


def test_refusals_are_reported_in_words(real, tmp_path):
    jobs = real.jobs
    other = replace(TRAIN_JOBS, plural="nothings", kind="Nothing")
    admins = replace(jobs, client=real.admin)
    invalid = train_job()
    invalid["spec"] = {"trainer": {"numNodes": "two"}}
    untrusted = real.connect(tmp_path, "x", **{"insecure-skip-tls-verify": False})
    expired = real.connect(tmp_path, "expired")
    with pytest.raises(UserError, match=r"refuses TrainJob job in namespace .*numNodes"):
        jobs.create(invalid)
    for objects, words in (
        (replace(jobs, resource=other), "may not create nothings"),
        (replace(admins, resource=other), "does not serve nothings.trainer.kubeflow.org"),
        (replace(admins, namespace="nowhere"), "there is no namespace nowhere"),
        (replace(jobs, namespace="nowhere"), "in namespace nowhere .403.; bind a"),
        (replace(jobs, client=expired), "does not accept the credentials"),
        (replace(jobs, client=untrusted), "certificate at .* is not trusted"),
    ):
        with pytest.raises(UserError, match=words):
            objects.create(train_job())
    assert jobs.read("job") is None


def test_a_quota_and_a_missing_verb_are_reported(real):
    hard = {f"count/{TRAIN_JOBS.in_full}": "1"}
    quota = {"metadata": {"name": "few"}, "spec": {"hard": hard}}
    real.core.create_namespaced_resource_quota(real.name, quota)
    read = real.core.read_namespaced_resource_quota
    until(lambda: (status := read("few", real.name).status) and status.hard)
    real.jobs.create(train_job())
    with pytest.raises(UserError, match=r"has no quota left: .*exceeded quota: few"):
        real.jobs.create(train_job("second"))
    without = [{**rule, "verbs": list({*rule["verbs"]} - {"watch"})} for rule in real.rules]
    real.rbac.patch_namespaced_role("runner", real.name, {"rules": without})
    time.sleep(1)
    with pytest.raises(UserError, match=r"runner may not watch trainjobs.* grants the verb watch"):
        real.jobs.wait("job", outcome, 10)
