from components.deployment.kserve.inference_service import render_inference_service
from components.deployment.kserve.service_state import state_of
from tests.manifests.conftest import MANIFESTS, build, named


def test_the_service_is_what_a_rollout_makes_and_takes_over():
    service = named(build(MANIFESTS / "serving-by-hand"), "InferenceService")
    model = service["spec"]["predictor"]["model"]
    made = render_inference_service(service["metadata"]["name"], "1", model["storageUri"])
    assert service == made
    state = state_of(service)
    assert (state.mode, state.stable, state.canary, state.first) == ("Standard", "1", None, False)
