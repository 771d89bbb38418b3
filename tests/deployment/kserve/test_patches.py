"""Each change, carried out by the mock's controller: what the pods and the traffic do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.kserve import patches
from components.deployment.kserve.inference_service import (
    ServiceSettings,
    model_of,
    render_inference_service,
)
from components.deployment.kserve.state import (
    NeverReady,
    canary_name,
    rolled_back,
    serving_alone,
    settled,
    share_in_force,
    state_of,
)
from tests.stand_ins.api_server import Objects
from tests.stand_ins.kserve_controller import KServe

NAME = "reviews"


class Service:
    """A service in the mock, and the changes applied to it."""

    def __init__(self, mode, settings=None, **controller):
        self.kserve = KServe(**controller)
        self.kept = Objects(self.kserve)
        self.mode = mode
        self.kept.create(
            render_inference_service(
                NAME, "3", "s3://m/3", mode=mode, model_digest="d3", settings=settings
            )
        )
        self.look(4)

    def look(self, times=1):
        for _ in range(times):
            found = self.kept.read(NAME)
        return found

    @property
    def now(self):
        return self.kept.found[NAME]

    def apply(self, change, looks=0):
        self.kept.patch(NAME, change)
        return self.look(looks) if looks else self.now

    def start(self, version="4", looks=4, digest="", **more):
        model = model_of(version, f"s3://m/{version}", self.mode, ServiceSettings())
        more = {"first_percent": 10, **more}
        return self.apply(patches.start(self.now, version, digest, model, **more), looks)

    def shift(self, percent, following=100, looks=2):
        return self.apply(
            patches.shift(self.now, percent, following=following, evidence={"e": 1}),
            looks,
        )


@pytest.fixture(params=["Standard", "Knative"])
def service(request):
    return Service(request.param)


def test_a_canary_is_started_without_traffic_and_then_gets_its_share(service):
    assert serving_alone(service.now) == ""
    service.start(digest="d4")
    assert service.kserve.weights.get("4", 0) == 0
    assert share_in_force(service.now, "4", 0) == ""
    state = state_of(service.now)
    assert (state.stable, state.canary, state.percent) == ("3", "4", 0)
    for percent in (10, 50, 100):
        change = patches.shift(service.now, percent, following=100)
        service.apply(change)
        assert share_in_force(service.now, "4", percent) != ""
        service.look(2)
        assert share_in_force(service.now, "4", percent) == ""
        assert {v: s for v, s in service.kserve.weights.items() if s} == {
            v: s for v, s in (("3", 100 - percent), ("4", percent)) if s
        }
    assert service.kserve.restarts == {}


def test_a_promotion_restarts_nothing_and_leaves_no_trace_of_the_canary(service):
    service.start(digest="d4", shadow=True)
    service.shift(100)
    service.apply(patches.promote(service.now))
    if service.mode == "Standard":
        assert serving_alone(service.now) != ""
    service.look(2)
    assert serving_alone(service.now) == ""
    assert settled(service.now) == ""
    assert service.kserve.weights == {"4": 100}
    assert service.kserve.restarts == {}
    state = state_of(service.now)
    assert (state.stable, state.canary, state.rejected) == ("4", None, None)
    kept = service.now["metadata"]["annotations"]
    assert kept["review-sentiment/model-version"] == "4"
    assert kept["review-sentiment/model-digest"] == "d4"
    assert not {key for key in kept if "canary" in key or "evidence" in key or "shadow" in key}
    predictor = service.now["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == "s3://m/4"
    assert "name" not in predictor["model"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 3)
    assert "canary" not in service.now["spec"]
    assert "canaryTrafficPercent" not in predictor


@pytest.mark.parametrize("percent", [0, 10, 100])
def test_a_rollback_restarts_nothing_and_remembers_why(service, percent):
    service.start()
    if percent:
        service.shift(percent)
    service.apply(patches.roll_back(service.now, "too slow " * 500))
    assert rolled_back(service.now) != "" or (service.mode, percent) == ("Knative", 0)
    service.look(2)
    assert rolled_back(service.now) == ""
    assert settled(service.now) == ""
    assert {v: s for v, s in service.kserve.weights.items() if s} == {"3": 100}
    assert service.kserve.restarts == {}
    state = state_of(service.now)
    assert (state.stable, state.canary, state.percent, state.rejected) == ("3", None, 0, "4")
    assert state.rejected_because.startswith("too slow")
    assert len(state.rejected_because) == 1000


def test_a_rejected_version_gets_no_traffic_when_the_next_one_starts(service):
    service.start("4")
    service.shift(10)
    service.apply(patches.roll_back(service.now, "no"), looks=2)
    service.kserve.served.clear()
    service.start("5", looks=0)
    # The rejected version's revision is still the newest one, ready and at 0 percent.
    assert share_in_force(service.now, "5", 0) != ""
    for _ in range(5):
        service.look()
        if not share_in_force(service.now, "5", 0):
            break
        assert not state_of(service.now).rejected
    assert share_in_force(service.now, "5", 0) == ""
    service.shift(10)
    assert service.kserve.served == {"3", "5"}


def test_a_canary_that_cannot_start_is_never_in_force():
    service = Service("Standard", broken=("4",))
    service.start(looks=20)
    assert "not ready" in share_in_force(service.now, "4", 0)
    knative = Service("Knative", broken=("4",))
    knative.start(looks=20)
    with pytest.raises(NeverReady, match="RevisionFailed"):
        share_in_force(knative.now, "4", 0)
    knative.apply(patches.roll_back(knative.now, "no"), looks=2)
    assert rolled_back(knative.now) == ""


def test_pods_for_the_next_step_run_before_its_traffic_comes():
    service = Service("Standard", ServiceSettings(min_replicas=6, max_replicas=10))

    def replicas():
        return service.now["spec"]["canary"][0]["predictor"]["minReplicas"]

    service.start()
    assert replicas() == 1
    service.shift(10, following=50)
    assert replicas() == 3
    service.shift(50, following=100)
    assert replicas() == 6
    service.apply(patches.promote(service.now))
    assert service.now["spec"]["predictor"]["minReplicas"] == 6
    assert service.now["spec"]["predictor"]["maxReplicas"] == 10


def test_replicas_that_someone_changed_stay(service):
    service.start()
    service.apply({"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 9}}})
    service.shift(100)
    service.apply(patches.promote(service.now), looks=2)
    predictor = service.now["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 9)


def test_beside_keda_a_canary_has_no_scaler_of_its_own():
    keda = ServiceSettings(
        scale_by="prometheus",
        scale_target=8,
        prometheus_server="http://prometheus:9090",
        prometheus_query="sum(queued)",
    )
    service = Service("Standard", keda)
    service.start()
    key = "serving.kserve.io/autoscalerClass"
    assert service.now["spec"]["canary"][0]["predictor"]["annotations"][key] == "none"
    service.shift(100)
    service.apply(patches.promote(service.now), looks=3)
    assert key not in service.now["spec"]["predictor"]["annotations"]
    assert service.now["metadata"]["annotations"][key] == "keda"


def test_the_first_deployment_is_noted_without_a_restart(service):
    made = render_inference_service(NAME, "3", "s3://m/3", mode=service.mode, first=True)
    service.apply({"metadata": {"annotations": made["metadata"]["annotations"]}}, 2)
    assert state_of(service.now).stable == ""
    service.apply(patches.promote(service.now), 2)
    assert state_of(service.now).stable == "3"
    assert service.kserve.restarts == {}


@pytest.mark.parametrize("version", ["4", "2026-11-21", "1.2", "Ä", "x" * 80, ""])
def test_a_canarys_name_fits_into_a_host_name(version):
    name = canary_name(version)
    host = f"{'a' * 40}-{name}-predictor"
    assert len(host) <= 63
    assert host.replace("-", "").isalnum()
    assert host.isascii()
    assert host.islower()
    assert canary_name(version) == name


def test_names_of_different_versions_differ():
    assert len({canary_name(version) for version in ("1.2", "1_2", "12", "1-2")}) == 4


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["Standard", "Knative"]),
    rollouts=st.lists(
        st.tuples(st.sampled_from([0, 10, 50, 100]), st.booleans()), min_size=1, max_size=6
    ),
)
def test_rollouts_in_any_order_never_serve_a_rejected_version(mode, rollouts):
    service = Service(mode)
    stable = "3"
    for number, (percent, good) in enumerate(rollouts, start=4):
        before, version = stable, str(number)
        service.kserve.served.clear()
        service.start(version)
        assert service.kserve.served == {stable}
        if percent:
            service.shift(percent)
        if good and percent == 100:
            service.apply(patches.promote(service.now), looks=2)
            stable = version
        else:
            service.apply(patches.roll_back(service.now, "no"), looks=2)
        assert settled(service.now) == ""
        assert {v for v, share in service.kserve.weights.items() if share} == {stable}
        assert service.kserve.served <= {before, version}
        assert service.kserve.restarts == {}
