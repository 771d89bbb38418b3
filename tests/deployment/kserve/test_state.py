"""What a service's fields and status say, as KServe writes them."""

import copy
from functools import reduce
from operator import getitem

import pytest

from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.state import (
    MODE_ANNOTATION,
    NeverReady,
    mode_of,
    rolled_back,
    serving_alone,
    share_in_force,
    state_of,
)
from components.deployment.service import ServiceState
from components.shared.machine.errors import UserError


def described(version, mode, **spec):
    service = render_inference_service("reviews", version, "s3://m", mode=mode)
    service["spec"] |= spec
    return service


CANARY = described("4", "Standard")["spec"]["predictor"] | {"name": "v4"}
STANDARD = described("3", "Standard", canary=[{"trafficPercent": 10, "predictor": CANARY}])
STANDARD["status"] = {
    "conditions": [{"type": "Ready", "status": "True"}],
    "canaryStatuses": [{"name": "v4", "ready": True, "trafficPercent": 10}],
}
KNATIVE = described("4", "Knative")
KNATIVE["spec"]["predictor"]["canaryTrafficPercent"] = 10
KNATIVE["metadata"]["annotations"]["review-sentiment/canary-after-revision"] = "r1"
NEWEST = {"revisionName": "r2", "latestRevision": True, "percent": 10}
REVISIONS = {
    "latestCreatedRevision": "r2",
    "latestReadyRevision": "r2",
    "latestRolledoutRevision": "r1",
    "traffic": [NEWEST, {"revisionName": "r1", "latestRevision": False, "percent": 90}],
}
KNATIVE["status"] = {
    "conditions": [{"type": kind, "status": "True"} for kind in ("PredictorReady", "Ready")],
    "components": {"predictor": REVISIONS},
}


def changed(service, path, value):
    found = copy.deepcopy(service)
    *parents, last = path
    reduce(getitem, parents, found["status"])[last] = value
    return found


PREDICTOR = ("components", "predictor")


@pytest.mark.parametrize("service", [STANDARD, KNATIVE])
def test_a_share_is_in_force(service):
    assert share_in_force(service, "4", 10) == ""
    assert share_in_force(service, "4", 50).endswith("gets 10 percent")
    bare = {key: value for key, value in service.items() if key != "status"}
    assert share_in_force(bare, "4", 10) != ""
    assert serving_alone(bare) != ""


@pytest.mark.parametrize(
    ("service", "path", "value"),
    [
        (STANDARD, ("canaryStatuses", 0, "ready"), False),
        (STANDARD, ("canaryStatuses", 0, "name"), "v5"),
        (STANDARD, ("canaryStatuses",), []),
        (STANDARD, ("conditions",), []),
        (STANDARD, ("conditions", 0, "status"), "Unknown"),
        (KNATIVE, (*PREDICTOR, "latestCreatedRevision"), "r3"),
        (KNATIVE, (*PREDICTOR, "latestReadyRevision"), "r1"),
        (KNATIVE, (*PREDICTOR, "latestRolledoutRevision"), "r2"),
        (KNATIVE, (*PREDICTOR, "traffic", 0, "latestRevision"), False),
        (KNATIVE, (*PREDICTOR, "traffic"), []),
        (KNATIVE, ("conditions", 0, "status"), "False"),
        (KNATIVE, ("components",), {}),
    ],
)
def test_one_thing_missing_is_not_yet(service, path, value):
    assert share_in_force(changed(service, path, value), "4", 10)


def test_the_revision_from_before_is_not_the_canary():
    created = changed(KNATIVE, (*PREDICTOR, "latestCreatedRevision"), "r1")
    before = changed(created, (*PREDICTOR, "latestReadyRevision"), "r1")
    assert share_in_force(before, "4", 10) == "the canary has no revision yet"


def test_a_spec_that_can_never_work_has_failed():
    why = {"reason": "NoSupportingRuntime", "message": "none"}
    failure = {"transitionStatus": "InvalidSpec", "lastFailureInfo": why}
    with pytest.raises(NeverReady, match=r"refuses the service: NoSupportingRuntime: none$"):
        serving_alone(changed(STANDARD, ("modelStatus",), failure))
    with pytest.raises(NeverReady):
        share_in_force(changed(STANDARD, ("canaryStatuses", 0, "modelStatus"), failure), "4", 10)
    unready = changed(KNATIVE, (*PREDICTOR, "latestReadyRevision"), "r1")
    with pytest.raises(NeverReady):
        share_in_force(changed(unready, ("modelStatus",), failure), "4", 10)
    unready["status"]["conditions"].append(
        {"type": "PredictorConfigurationReady", "status": "False", "message": "exit code 1"}
    )
    with pytest.raises(NeverReady, match=r"revision r2 cannot start: exit code 1$"):
        share_in_force(unready, "4", 10)


def test_all_of_the_traffic_and_none_of_it():
    assert share_in_force(STANDARD, "5", 10) != ""
    for split in (STANDARD, KNATIVE):
        assert serving_alone(split) != ""
        assert rolled_back(split) != ""
    assert rolled_back({**KNATIVE, "status": {}}) != ""
    alone = changed(KNATIVE, (*PREDICTOR, "traffic"), [NEWEST | {"percent": 100}])
    assert serving_alone(alone) != ""
    alone = changed(alone, (*PREDICTOR, "latestRolledoutRevision"), "r2")
    assert serving_alone(alone) == ""
    assert share_in_force(alone, "4", 100) == ""
    assert rolled_back(alone) != ""
    back = changed(KNATIVE, (*PREDICTOR, "traffic", 0, "percent"), 0)
    assert rolled_back(back) != ""
    assert rolled_back(changed(back, (*PREDICTOR, "traffic", 1, "percent"), 100)) == ""
    alone = changed(STANDARD, ("canaryStatuses",), [])
    assert (serving_alone(alone), rolled_back(alone)) == ("", "")


@pytest.fixture
def service(mode):
    """A service that serves version 3 alone."""
    return described("3", mode)


def test_of_two_canaries_none_is_understood():
    service = described("3", "Standard")
    predictor = {"name": "v4", "model": described("4", "Standard")["spec"]["predictor"]["model"]}
    service["spec"]["canary"] = [{"trafficPercent": 10, "predictor": predictor}] * 2
    with pytest.raises(UserError, match="2 canaries, of which a rollout understands one"):
        state_of(service)


@pytest.mark.parametrize(
    ("text", "evidence"),
    [('{"seen": 3}', {"seen": 3}), *((bad, {}) for bad in ("", "{", "3", "null"))],
)
def test_evidence_is_read_where_it_is_some(service, text, evidence):
    service["metadata"]["annotations"]["review-sentiment/stable-evidence"] = text
    assert state_of(service) == ServiceState("3", evidence=evidence)


def test_modes_have_old_names(service, mode):
    old = {"Standard": "RawDeployment", "Knative": "Serverless"}[mode]
    service["metadata"]["annotations"][MODE_ANNOTATION] = old
    assert mode_of(service) == mode


def test_a_service_of_someone_else_is_refused(service):
    variables = service["spec"]["predictor"]["model"].pop("env")
    with pytest.raises(UserError, match="does not say which model version"):
        state_of(service)
    service["spec"]["predictor"]["model"]["env"] = variables
    del service["metadata"]["annotations"][MODE_ANNOTATION]
    with pytest.raises(UserError, match="does not say its deployment mode"):
        mode_of(service)
