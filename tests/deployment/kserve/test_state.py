import pytest

from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.state import MODE_ANNOTATION, mode_of, state_of
from components.deployment.service import ServiceState
from components.shared.machine.errors import UserError


def described(version, mode):
    return render_inference_service("reviews", version, f"s3://m/{version}", mode=mode)


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
