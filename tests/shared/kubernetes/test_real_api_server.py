"""The layer against a real API server that has Trainer's CRDs, under a Role of its own.

Set KUBERNETES_TEST_KUBECONFIG to a kubeconfig of an administrator. Nothing has to run pods there.
"""

import os
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import condition, permissions, run_to_end
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import PERMISSIONS, own_run
from components.shared.kubernetes.refusals import Conflict, Gone
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import TRAIN_JOBS, outcome, train_job

KUBECONFIG = os.environ.get("KUBERNETES_TEST_KUBECONFIG", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="set KUBERNETES_TEST_KUBECONFIG"),
]

POD = {
    "metadata": {"name": "job-node-0-x", "labels": {"app": "job", "pipeline/runid": "run-1"}},
    "spec": {"containers": [{"name": "node", "image": "training:1"}]},
}


class Cluster:
    """A namespace, what an administrator does in it, and a user who may only launch."""

    def __init__(self, folder):
        from kubernetes.client import CoreV1Api, CustomObjectsApi, RbacAuthorizationV1Api

        self.admin, _ = connect(kubeconfig=KUBECONFIG)
        self.core, self.rbac = CoreV1Api(self.admin), RbacAuthorizationV1Api(self.admin)
        self.custom = CustomObjectsApi(self.admin)
        self.namespace = f"launch-test-{uuid.uuid4().hex[:8]}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        self.core.create_namespaced_service_account(
            self.namespace, {"metadata": {"name": "runner"}}
        )
        granted = permissions(TRAIN_JOBS)
        granted |= {key: tuple({*granted.get(key, ()), *PERMISSIONS[key]}) for key in PERMISSIONS}
        self.rules = [
            {"apiGroups": [group], "resources": [plural], "verbs": list(verbs)}
            for (group, plural), verbs in granted.items()
        ]
        self.rbac.create_namespaced_role(
            self.namespace, {"metadata": {"name": "runner"}, "rules": self.rules}
        )
        self.rbac.create_namespaced_role_binding(
            self.namespace,
            {
                "metadata": {"name": "runner"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": "runner",
                },
                "subjects": [
                    {"kind": "ServiceAccount", "name": "runner", "namespace": self.namespace}
                ],
            },
        )
        token = self.core.create_namespaced_service_account_token(
            "runner", self.namespace, {"spec": {"expirationSeconds": 3600}}
        ).status.token
        self.client = self.connect(folder, token)
        self.jobs = Objects(
            self.client,
            self.namespace,
            TRAIN_JOBS,
            pods="app={name}",
            retry_policy=RetryPolicy(seconds=5.0),
        )

    def connect(self, folder, token, **server):
        config = yaml.safe_load(Path(KUBECONFIG).read_text(encoding="utf-8"))
        config["users"] = [{"name": "runner", "user": {"token": token}}]
        context = config["contexts"][0]["context"]
        config["contexts"] = [{"name": "it", "context": {**context, "user": "runner"}}]
        config["current-context"] = "it"
        for cluster in config["clusters"]:
            cluster["cluster"] |= server
        file = folder / f"{uuid.uuid4().hex}.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return connect(self.namespace, kubeconfig=str(file))[0]

    def set_status(self, **holds):
        conditions = [
            {
                "type": kind,
                "status": str(value),
                "reason": "Test",
                "message": "as said",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, value in holds.items()
        ]
        self.custom.patch_namespaced_custom_object_status(
            TRAIN_JOBS.group,
            TRAIN_JOBS.version,
            self.namespace,
            TRAIN_JOBS.plural,
            "job",
            {"status": {"conditions": conditions}},
        )

    def break_pod(self):
        """A pod that failed, and an event about it, as a kubelet would tell."""
        self.core.create_namespaced_pod(self.namespace, POD)
        image = {"image": "training:1", "imageID": "", "ready": False, "restartCount": 0}
        ended = {"name": "node", **image, "state": {"terminated": {"exitCode": 1}}}
        self.core.patch_namespaced_pod_status(
            "job-node-0-x",
            self.namespace,
            {"status": {"phase": "Failed", "containerStatuses": [ended]}},
        )
        about = {"kind": "Pod", "name": "job-node-0-x", "namespace": self.namespace}
        event = {"reason": "OOMKilling", "message": "out of memory", "type": "Warning"}
        metadata = {"metadata": {"name": "job-node-0-x.1"}, "involvedObject": about}
        self.core.create_namespaced_event(self.namespace, {**metadata, **event})

    def gone(self, seconds=30):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.jobs.read("job") is None:
                return True
            time.sleep(0.2)
        return False

    def close(self):
        self.core.delete_namespace(self.namespace)
        self.client.close()
        self.admin.close()


@pytest.fixture
def real(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.close()


def later(*steps):
    def work():
        for step in steps:
            time.sleep(0.5)
            step()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_job_is_run_to_its_end_by_watch(real):
    seen = []
    worker = later(lambda: real.set_status(Suspended=False), lambda: real.set_status(Complete=True))
    began = time.monotonic()
    done = run_to_end(
        real.jobs,
        train_job(),
        outcome,
        deadline_seconds=60,
        on_change=lambda found: seen.append(len((found.get("status") or {}).get("conditions", []))),
    )
    worker.join()
    assert condition(done, "Complete")
    assert seen[0] == 0
    assert len(seen) >= 3
    assert time.monotonic() - began < 10
    assert real.gone()


def test_a_job_is_adopted_and_another_one_refused(real):
    made = real.jobs.create_or_adopt(train_job())
    assert real.jobs.create_or_adopt(train_job())["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(UserError, match="another TrainJob job"):
        run_to_end(real.jobs, train_job(image="other"), outcome, deadline_seconds=5)
    worker = later(lambda: real.set_status(Complete=True))
    run_to_end(real.jobs, train_job(), outcome, deadline_seconds=60)
    worker.join()
    assert real.gone()


def test_a_failure_is_explained_and_nothing_left(real):
    real.break_pod()
    worker = later(lambda: real.set_status(Failed=True))
    with pytest.raises(UserError) as raised:
        run_to_end(real.jobs, train_job(), outcome, deadline_seconds=60)
    worker.join()
    for words in (
        "TrainJob job failed: Failed is True (Test: as said)",
        "event OOMKilling of job-node-0-x: out of memory",
        "container node of pod job-node-0-x failed, its last lines: none",
    ):
        assert words in str(raised.value)
    assert real.gone()


def test_one_that_is_deleted_meanwhile_ends_the_wait(real):
    real.jobs.create(train_job())
    worker = later(lambda: real.jobs.delete("job"))
    with pytest.raises(Gone):
        real.jobs.wait("job", outcome, 60)
    worker.join()


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
    real.custom.patch_namespaced_custom_object(
        TRAIN_JOBS.group,
        TRAIN_JOBS.version,
        real.namespace,
        TRAIN_JOBS.plural,
        "job",
        {"metadata": {"finalizers": None}},
    )
    real.jobs.wait_until_gone("job", 30)


def test_a_watch_from_a_forgotten_version_is_begun_anew(real):
    real.jobs.create(train_job())
    old = SimpleNamespace(left=1)
    inner = real.client.call_api

    def call_api(path, method, path_params, query, *rest, **options):
        if old.left and ("watch", True) in query:
            old.left = 0
            query = [(k, "1" if k == "resourceVersion" else v) for k, v in query]
        return inner(path, method, path_params, query, *rest, **options)

    real.client.call_api = call_api
    worker = later(lambda: None, lambda: real.set_status(Complete=True))
    assert real.jobs.wait("job", outcome, 60)
    worker.join()
    assert old.left == 0


def test_refusals_are_reported_in_words(real, tmp_path):
    jobs = real.jobs
    other = replace(TRAIN_JOBS, plural="nothings", kind="Nothing")
    admins = replace(jobs, client=real.admin)
    invalid = train_job()
    invalid["spec"] = {"trainer": {"numNodes": "two"}}
    untrusted = real.connect(tmp_path, "x", **{"insecure-skip-tls-verify": False})
    expired = real.connect(tmp_path, "expired")
    for objects, manifest, words in (
        (jobs, invalid, "refuses TrainJob job in namespace .*numNodes"),
        (replace(jobs, resource=other), train_job(), "may not create nothings"),
        (
            replace(admins, resource=other),
            train_job(),
            "does not serve nothings.trainer.kubeflow.org",
        ),
        (replace(admins, namespace="nowhere"), train_job(), "there is no namespace nowhere"),
        (replace(jobs, namespace="nowhere"), train_job(), "in namespace nowhere .403.; bind a"),
        (replace(jobs, client=expired), train_job(), "does not accept the credentials"),
        (replace(jobs, client=untrusted), train_job(), "certificate at .* is not trusted"),
    ):
        with pytest.raises(UserError, match=words):
            objects.create(manifest)
    assert jobs.read("job") is None


def test_a_quota_and_a_missing_verb_are_reported(real):
    hard = {f"count/{TRAIN_JOBS.in_full}": "1"}
    real.core.create_namespaced_resource_quota(
        real.namespace, {"metadata": {"name": "few"}, "spec": {"hard": hard}}
    )
    until = time.monotonic() + 20
    while time.monotonic() < until:
        status = real.core.read_namespaced_resource_quota("few", real.namespace).status
        if status and status.hard:
            break
        time.sleep(0.2)
    real.jobs.create(train_job())
    with pytest.raises(UserError, match=r"has no quota left: .*exceeded quota: few"):
        real.jobs.create(train_job("second"))
    without = [
        {**rule, "verbs": [verb for verb in rule["verbs"] if verb != "watch"]}
        for rule in real.rules
    ]
    real.rbac.patch_namespaced_role("runner", real.namespace, {"rules": without})
    time.sleep(1)
    with pytest.raises(UserError, match=r"runner may not watch trainjobs.* grants the verb watch"):
        real.jobs.wait("job", outcome, 10)


def test_the_own_run_is_read_off_the_pod(real, monkeypatch):
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "name": "wf",
        "uid": "0c6a4bb2-9c5f-4f5e-8d3f-1f2b3c4d5e6f",
    }
    pod = {**POD, "metadata": {**POD["metadata"], "ownerReferences": [workflow]}}
    real.core.create_namespaced_pod(real.namespace, pod)
    monkeypatch.setenv("KFP_POD_NAME", "job-node-0-x")
    found = own_run(real.client, real.namespace)
    assert (found.run_id, found.owner) == ("run-1", workflow)
