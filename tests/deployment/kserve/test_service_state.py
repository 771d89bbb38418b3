import pytest

from components.deployment.kserve.service_state import MODE_ANNOTATION, ServiceState, state_of
from components.shared.machine.errors import UserError
from tests.deployment.small_service import described, with_canary


def with_annotations(service, **annotations):
    service["metadata"]["annotations"] |= {
        f"review-sentiment/{name.replace('_', '-')}": value for name, value in annotations.items()
    }
    return service


@pytest.fixture
def service(mode):
    """A service that serves version 3 alone."""
    return described("3", mode)


def test_a_version_that_serves_alone(service, mode):
    assert state_of(service) == ServiceState(mode, "3")


def test_a_canary_in_standard_mode_is_beside_the_predictor():
    service = described("3", "Standard")
    service["spec"] |= with_canary("4", 10)["spec"]
    assert state_of(service) == ServiceState("Standard", "3", "4", 10)
    service["spec"]["canary"] *= 2
    with pytest.raises(UserError, match="2 canaries, of which a rollout understands one"):
        state_of(service)


def test_a_canary_in_knative_mode_is_the_predictor():
    service = with_annotations(described("4", "Knative"), model_version="3")
    service["spec"]["predictor"]["canaryTrafficPercent"] = 0
    assert state_of(service) == ServiceState("Knative", "3", "4", 0)
    with_annotations(service, rejected_version="4", rejected_because="it failed")
    assert state_of(service) == ServiceState(
        "Knative", "3", rejected="4", rejected_because="it failed"
    )


def test_what_a_rollout_noted_is_read(service):
    with_annotations(service, first_deployment="in progress", stable_evidence='{"seen": 3}')
    state = state_of(service)
    assert state.first
    assert state.evidence == {"seen": 3}


@pytest.mark.parametrize("text", ["", "{", "3", "null"])
def test_evidence_that_is_none_says_nothing(service, text):
    assert state_of(with_annotations(service, stable_evidence=text)).evidence == {}


def test_modes_have_old_names(service, mode):
    old = {"Standard": "RawDeployment", "Knative": "Serverless"}[mode]
    service["metadata"]["annotations"][MODE_ANNOTATION] = old
    assert state_of(service).mode == mode


def test_a_service_of_someone_else_is_refused(service):
    variables = service["spec"]["predictor"]["model"].pop("env")
    with pytest.raises(UserError, match="does not say which model version"):
        state_of(service)
    service["spec"]["predictor"]["model"]["env"] = variables
    del service["metadata"]["annotations"][MODE_ANNOTATION]
    with pytest.raises(UserError, match="does not say its deployment mode"):
        state_of(service)
