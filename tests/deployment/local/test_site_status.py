import pytest

from components.deployment.local.local_store import server_addresses
from components.deployment.local.plan import Wanted, reconcile, wanted_of
from components.deployment.local.site_status import Failure, status_of
from tests.deployment.small_service import (
    NAME,
    ONE,
    THREE,
    TWO,
    canary,
    conditions,
    described,
    seen,
)


def told(service, wanted, processes=(), failures=None, serving=None, fault="", now="now"):
    plan = reconcile(wanted, processes, serving, None)
    return status_of(
        service,
        wanted,
        processes,
        plan,
        failures or {},
        url="http://127.0.0.1:8080",
        ingress_fault=fault,
        now=now,
    )


def failure(count=1):
    return Failure(count, 0.0, "its last words", 3, False, "p-1", "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("uri", ["s3://models/1", "/m/1", "", None, "file://elsewhere/m"])
def test_a_model_that_is_not_on_this_machine_is_an_invalid_spec(uri):
    service = described()
    service["spec"]["predictor"]["model"]["storageUri"] = uri
    service["metadata"]["generation"] = 1
    wanted = wanted_of(service)
    assert wanted.stable is None
    status = told(service, wanted)
    assert status["modelStatus"]["transitionStatus"] == "InvalidSpec"
    assert "is no folder of this machine" in status["modelStatus"]["lastFailureInfo"]["message"]
    assert conditions(status)["Ready"] == "False"


def test_the_status_of_a_canary_that_is_ready_and_of_one_that_failed(faults_of):
    service = described() | {"metadata": {"name": NAME, "generation": 4}}
    wanted = Wanted(ONE, (canary(TWO, 10), canary(THREE, 5)))
    status = told(service, wanted, [seen(ONE), seen(TWO)], {THREE.key: failure()}, ONE.key)
    assert status["observedGeneration"] == 4
    # Canaries are not part of Ready.
    assert conditions(status) == {
        "CanaryPredictorReady": "False",
        "IngressReady": "True",
        "PredictorReady": "True",
        "Ready": "True",
    }
    two, three = status["canaryStatuses"]
    assert (two["name"], two["ready"], two["trafficPercent"]) == ("v2", True, 10)
    assert (three["name"], three["ready"], three["trafficPercent"]) == ("v3", False, 5)
    assert three["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert three["modelStatus"]["lastFailureInfo"]["exitCode"] == 3
    full = {**service, "status": status}
    assert server_addresses(full) == {
        "1": ["http://127.0.0.1:20011"],
        "2": ["http://127.0.0.1:20021"],
    }
    # Just what the CRD has room for, so that it reads the same as on a cluster.
    assert faults_of(full, "serving.kserve.io_inferenceservices.yaml") == []


def test_the_predictor_before_keeps_the_service_ready_until_the_new_one_fails_again_and_again():
    service = described() | {"metadata": {"name": NAME, "generation": 2}}
    status = told(service, Wanted(TWO), [seen(ONE)], {}, ONE.key)
    assert conditions(status)["PredictorReady"] == "True"
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    status = told(service, Wanted(TWO), [seen(ONE)], {TWO.key: failure(1)}, ONE.key)
    assert conditions(status)["Ready"] == "True"
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    status = told(service, Wanted(TWO), [seen(ONE)], {TWO.key: failure(3)}, ONE.key)
    assert conditions(status)["Ready"] == "False"
    (ready,) = [c for c in status["conditions"] if c["type"] == "PredictorReady"]
    assert (ready["reason"], ready["message"]) == ("ProgressDeadlineExceeded", "its last words")


def test_a_splitter_that_does_not_run_makes_the_service_unready():
    service = described() | {"metadata": {"name": NAME, "generation": 1}}
    status = told(service, Wanted(ONE), [seen(ONE)], fault="no nginx")
    assert conditions(status) == {
        "IngressReady": "False",
        "PredictorReady": "True",
        "Ready": "False",
    }


def test_a_condition_keeps_the_time_since_which_it_holds():
    service = described() | {"metadata": {"name": NAME, "generation": 1}}
    service["status"] = told(service, Wanted(ONE), [], now="first")
    status = told(service, Wanted(ONE), [seen(ONE)], now="second")
    times = {c["type"]: c["lastTransitionTime"] for c in status["conditions"]}
    assert times == {"IngressReady": "first", "PredictorReady": "second", "Ready": "second"}
