from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.state import mode_of, state_of
from components.deployment.service import ServiceState
from tests.manifests.conftest import MANIFESTS, build, named


def test_a_rollout_makes_the_same_service():
    service = named(build(MANIFESTS / "serving-by-hand"), "InferenceService")
    model = service["spec"]["predictor"]["model"]
    made = render_inference_service(service["metadata"]["name"], "1", model["storageUri"])
    assert service == made
    assert (mode_of(service), state_of(service)) == ("Standard", ServiceState("1"))
