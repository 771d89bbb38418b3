"""Rollouts through the real `kubernetes` client and HTTP, with faults on the way."""

from contextlib import closing
from dataclasses import replace

import pytest

from components.deployment.kserve.service import PERMISSIONS, inference_services
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, World
from tests.stand_ins.api_server import ApiServer, kubeconfig


@pytest.fixture
def world(mode, tmp_path):
    """An empty cluster whose store talks to it over HTTP."""
    made = World(mode, empty=True)
    with closing(ApiServer(made.kept)) as made.api:
        objects = inference_services(kubeconfig=kubeconfig(tmp_path, made.api.url))
        policy = RetryPolicy(60.0, made.time.clock, made.time.sleep, lambda: 1.0)
        made.objects = replace(objects, retry_policy=policy)
        with closing(made.objects.client):
            yield made


def test_with_the_permissions_of_its_role_and_half_of_its_answers_a_rollout_ends_the_same(world):
    for method, fault in (("GET", "drop"), ("POST", "lost"), ("PATCH", "lost")):
        world.api.plant(method, fault, *range(1, 200, 2))
    world.time.errors["5"] = 0.5
    decisions = [world.roll_out(version).decision for version in "345"]
    assert decisions == ["first_deployment", "promote", "roll_back"]
    assert (world.shares, world.kserve.restarts, world.kept.uids) == ({"4": 100}, {}, 1)
    assert (world.noted["model-version"], world.noted["rejected-version"]) == ("4", "5")
    assert not [name for name in world.noted if "canary" in name]
    failed = {"name": "c", "image": "", "imageID": "", "ready": False, "restartCount": 1}
    failed |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    failed |= {"lastState": {"terminated": {"exitCode": 2}}}
    metadata = {"name": "pod-1", "namespace": "reviews"}
    world.api.pods = [{"metadata": metadata, "status": {"containerStatuses": [failed]}}]
    world.api.logs["pod-1"] = "error: model.safetensors is missing"
    world.api.faults.clear()
    world.kserve.broken |= {"6", "7"}
    done = world.roll_out("6")
    assert done.decision == "roll_back"
    assert "error: model.safetensors is missing" in done.reason
    world.objects.delete(NAME)
    with pytest.raises(UserError, match="never became ready as the first"):
        world.roll_out("7")
    assert world.kept.found == {}
    assert world.api.permissions() == PERMISSIONS
