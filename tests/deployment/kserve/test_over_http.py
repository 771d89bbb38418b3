"""Rollouts through the real `kubernetes` client and HTTP, with faults on the way."""

from dataclasses import replace

import pytest

from components.deployment.kserve.service import PERMISSIONS, inference_services
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, World
from tests.stand_ins.api_server import ApiServer, Refused, kubeconfig


class Cluster(World):
    """The mock with KServe's rules, and a store that talks to it."""

    def __init__(self, folder, mode):
        super().__init__(mode, empty=True)
        self.api = ApiServer(self.kept)
        objects = inference_services(kubeconfig=kubeconfig(folder, self.api.url))
        policy = RetryPolicy(60.0, self.time.clock, self.time.sleep, lambda: 1.0)
        self.objects = replace(objects, retry_policy=policy)

    def roll_out_three(self):
        """The first version, a good one and a bad one."""
        self.time.errors["5"] = 0.5
        decisions = [self.roll_out(version).decision for version in "345"]
        assert decisions == ["first_deployment", "promote", "roll_back"]
        assert (self.shares, self.kserve.restarts, self.kept.uids) == ({"4": 100}, {}, 1)


@pytest.fixture
def cluster(mode, tmp_path):
    made = Cluster(tmp_path, mode)
    yield made
    made.objects.client.close()
    made.api.close()


def test_a_rollout_uses_the_permissions_that_its_role_grants(cluster):
    cluster.roll_out_three()
    failed = {"name": "c", "image": "", "imageID": "", "ready": False, "restartCount": 1}
    failed |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    failed |= {"lastState": {"terminated": {"exitCode": 2}}}
    metadata = {"name": "pod-1", "namespace": "reviews"}
    cluster.api.pods = [{"metadata": metadata, "status": {"containerStatuses": [failed]}}]
    cluster.api.logs["pod-1"] = "error: model.safetensors is missing"
    cluster.kserve.broken.add("6")
    done = cluster.roll_out("6")
    assert done.decision == "roll_back"
    assert "error: model.safetensors is missing" in done.reason
    cluster.objects.delete(NAME)
    cluster.kserve.broken.add("7")
    with pytest.raises(UserError, match="never became ready as the first"):
        cluster.roll_out("7")
    assert cluster.kept.found == {}
    assert cluster.api.permissions() == PERMISSIONS


OTHER_VERSION = Refused(409, "Conflict", "the object has been modified", name=NAME)


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        *((m, f) for m in ("GET", "POST", "PATCH") for f in (429, 500, 503, "drop", "lost")),
        ("PATCH", OTHER_VERSION),
    ],
)
def test_every_request_fails_once_and_the_rollout_ends_the_same(cluster, method, fault):
    for nth in range(1, 200, 2):
        cluster.api.plant(method, fault, nth)
    cluster.roll_out_three()
    assert (cluster.noted["model-version"], cluster.noted["rejected-version"]) == ("4", "5")
    assert not [name for name in cluster.noted if "canary" in name]
