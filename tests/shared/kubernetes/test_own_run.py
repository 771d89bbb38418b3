from functools import partial

import pytest

from components.shared.kubernetes.own_run import PERMISSIONS, OwnRun, own_run
from components.shared.machine.errors import UserError

WANTED = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "training-x7"}
WANTED["uid"] = "uid-7"
WORKFLOW = {**WANTED, "controller": True, "blockOwnerDeletion": True}
OTHER = {**WORKFLOW, "kind": "Queue", "uid": "uid-8"}


@pytest.fixture
def ask(cluster, monkeypatch):
    monkeypatch.delenv("KFP_POD_NAME", raising=False)
    monkeypatch.setenv("HOSTNAME", "step-1")

    policy = cluster.objects.retry_policy
    return partial(own_run, cluster.objects.client, "reviews", retry_policy=policy)


def pod(name="step-1", **metadata):
    return {"metadata": {"name": name, "namespace": "reviews", **metadata}}


@pytest.mark.parametrize("named_by", ["HOSTNAME", "KFP_POD_NAME"])
def test_the_run_and_its_workflow_are_the_pods(cluster, ask, monkeypatch, named_by):
    name = "step-1" if named_by == "HOSTNAME" else "step-1" + 70 * "a"
    monkeypatch.setenv(named_by, name)
    cluster.api.pods = [
        pod(name, labels={"pipeline/runid": "abc"}, ownerReferences=[OTHER, WORKFLOW])
    ]
    cluster.api.plant("GET", "drop")
    found = ask()
    # Without blockOwnerDeletion, which would need the right to update the Workflow's finalizers.
    assert found == OwnRun("abc", WANTED)
    assert cluster.api.permissions() == PERMISSIONS


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], "there is no Pod step-1 in namespace reviews"),
        ([pod(ownerReferences=[WORKFLOW])], "pod step-1 has no label pipeline/runid or no Work"),
        ([pod(labels={"pipeline/runid": "abc"})], "pod step-1 has no label pipeline/runid or no"),
    ],
)
def test_what_is_no_step_of_a_run_is_reported(cluster, ask, monkeypatch, pods, words):
    cluster.api.pods = pods
    with pytest.raises(UserError, match=words):
        ask()
    monkeypatch.delenv("HOSTNAME")
    with pytest.raises(UserError, match="in no pod; run it as a step of a pipeline on Kubeflow"):
        ask()
