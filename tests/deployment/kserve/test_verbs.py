"""Each verb, carried out by KServe's stand-in: what the object, the pods and the traffic do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.kserve.state import canary_name
from components.deployment.service import Interfered, NotReady, ServiceState
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, World

KEDA = ServiceSettings(
    scale_by="prometheus",
    scale_target=8,
    prometheus_server="http://prometheus:9090",
    prometheus_query="sum(queued)",
)


@pytest.fixture
def world(mode):
    return World(mode)


def spec(world):
    return world.kept.found[NAME]["spec"]


def shifted(service, *percents):
    """The verbs up to a share."""
    service.start(10)
    service.ready(0)
    for before, percent in zip((0, *percents), percents, strict=False):
        service.shift(before, percent, following=100, evidence={"at": percent})
        service.ready(percent)


def test_a_canary_gets_its_shares_and_is_promoted_without_a_restart(world):
    service = world.service()
    service.start(10, shadow=True)
    assert service.state() == ServiceState("3", "4", 0)
    assert world.annotations["review-sentiment/shadow"] == "true"
    service.ready(0)
    assert world.shares == {"3": 100}
    for before, percent in ((0, 10), (10, 50), (50, 100)):
        for _ in range(2):  # a verb that is done already does nothing
            service.shift(before, percent, following=100, evidence={"at": percent})
        service.ready(percent)
        service.start(10)
        assert service.state() == ServiceState("3", "4", percent, evidence={"at": percent})
        assert world.shares == {v: s for v, s in (("3", 100 - percent), ("4", percent)) if s}
    service.promote()
    version = world.kept.found[NAME]["metadata"]["resourceVersion"]
    service.promote()
    assert world.kept.found[NAME]["metadata"]["resourceVersion"] == version
    assert service.state() == ServiceState("4")
    assert (world.shares, world.kserve.restarts) == ({"4": 100}, {})
    assert world.annotations["review-sentiment/model-version"] == "4"
    assert world.annotations["review-sentiment/model-digest"] == "d4"
    left = [
        key for key in world.annotations if "canary" in key or "evidence" in key or "shadow" in key
    ]
    assert left == []
    predictor = spec(world)["predictor"]
    assert predictor["model"]["storageUri"] == "s3://m/4"
    assert "name" not in predictor["model"]
    assert "canary" not in spec(world)
    assert "canaryTrafficPercent" not in predictor


@pytest.mark.parametrize("percents", [(), (10,), (10, 100)])
def test_a_rollback_restarts_nothing_and_remembers_why(world, percents):
    service = world.service()
    shifted(service, *percents)
    for _ in range(2):
        service.roll_back("too slow " * 500)
    state = service.state()
    assert (state.stable, state.canary, state.percent, state.rejected) == ("3", None, 0, "4")
    assert state.rejected_because == ("too slow " * 500)[:1000]
    assert (state.evidence, world.shares, world.kserve.restarts) == ({}, {"3": 100}, {})


def test_a_first_deployment_is_a_canary_beside_no_stable_version(mode):
    world = World(mode, empty=True)
    service = world.service()
    assert service.state() is None
    with pytest.raises(Interfered, match="someone deleted service reviews"):
        service.start(10)
    for _ in range(2):
        service.start(100)
    assert service.state() == ServiceState("", "4", 100)
    service.ready(100)
    service.promote()
    assert (service.state(), world.kserve.restarts) == (ServiceState("4"), {})
    world.service("5").start(100)
    assert service.state() == ServiceState("4")


def test_a_first_deployment_that_is_rolled_back_is_removed_and_no_other(mode):
    world = World(mode, empty=True)
    world.service().start(100)
    with pytest.raises(Interfered, match="is trying version 4 instead"):
        world.service("5").roll_back("no")

    def made_anew(called):
        if called == "delete":
            found = world.kept.found[NAME]
            world.kept.found[NAME] = {**found, "metadata": {**found["metadata"], "uid": "new"}}

    world.objects.before = made_anew
    with pytest.raises(Interfered):
        world.service().roll_back("no")
    assert NAME in world.kept.found
    world.objects.before = None
    world.service().roll_back("no")
    assert world.kept.found == {}


@pytest.mark.parametrize("version", ["3", "5"])
def test_verbs_of_another_version_change_nothing(world, version):
    shifted(world.service(), 10)
    before, other = world.kept.found[NAME], world.service(version)
    for verb in (
        lambda: other.start(10),
        lambda: other.shift(10, 50, following=100),
        lambda: other.ready(10),
        lambda: other.promote(),
        lambda: other.roll_back("no"),
        lambda: world.service().shift(20, 50, following=100),
        lambda: world.service().ready(20),
        lambda: world.service().promote(),
    ):
        with pytest.raises(Interfered):
            verb()
    assert world.kept.found[NAME] == before


def test_a_rejected_version_gets_no_traffic_when_the_next_one_starts(world):
    shifted(world.service(), 10)
    world.service().roll_back("no")
    world.kserve.served.clear()
    shifted(world.service("5"), 10)
    assert world.kserve.served == {"3", "5"}
    assert world.service("5").state().rejected is None


def test_a_canary_that_cannot_start_is_not_ready(mode):
    world = World(mode, broken=("4",))
    world.service().start(10)
    words = {"Standard": "not within 60 s", "Knative": "RevisionFailed; no pod started"}[mode]
    with pytest.raises(NotReady, match=words):
        world.service().ready(0)
    world.service().roll_back("no")
    assert world.shares == {"3": 100}


def test_pods_for_the_next_step_run_before_its_traffic_comes():
    world = World("Standard")
    world.kept.patch(NAME, {"spec": {"predictor": {"minReplicas": 6, "maxReplicas": 10}}})
    service, replicas = world.service(), []
    service.start(10)
    for before, percent, following in ((0, 10, 50), (10, 50, 100), (50, 100, 100)):
        replicas.append(spec(world)["canary"][0]["predictor"]["minReplicas"])
        service.shift(before, percent, following=following)
    assert replicas == [1, 3, 6]
    service.promote()
    predictor = spec(world)["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (6, 10)


def test_beside_keda_a_canary_has_no_scaler_of_its_own():
    world = World("Standard", empty=True, settings=KEDA)
    world.roll_out("3")
    shifted(world.service(), 100)
    key = "serving.kserve.io/autoscalerClass"
    assert spec(world)["canary"][0]["predictor"]["annotations"][key] == "none"
    world.service().promote()
    assert key not in spec(world)["predictor"]["annotations"]
    assert world.annotations[key] == "keda"


@pytest.mark.parametrize("version", ["4", "2026-11-21", "1.2", "Ä", "x" * 80, ""])
def test_a_canarys_name_fits_into_a_host_name(version):
    host = f"{'a' * 40}-{canary_name(version)}-predictor"
    assert len(host) <= 63
    assert host.replace("-", "").isalnum()
    assert host.isascii()
    assert host.islower()


def test_names_of_different_versions_differ():
    assert len({canary_name(version) for version in ("1.2", "1_2", "12", "1-2")}) == 4


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["Standard", "Knative"]),
    tried=st.lists(
        st.tuples(st.sampled_from([0, 10, 50, 100]), st.booleans()), min_size=1, max_size=6
    ),
)
def test_rollouts_in_any_order_never_serve_a_rejected_version(mode, tried):
    world, stable = World(mode), "3"
    for number, (percent, good) in enumerate(tried, start=4):
        before, service = stable, world.service(str(number))
        world.kserve.served.clear()
        shifted(service, *([percent] if percent else []))
        if good and percent == 100:
            service.promote()
            stable = str(number)
        else:
            service.roll_back("no")
        assert world.shares == {stable: 100}
        assert world.kserve.served <= {before, str(number)}
        assert world.kserve.restarts == {}


def test_a_service_in_the_other_mode_is_refused(world):
    world.mode = {"Standard": "Knative", "Knative": "Standard"}[world.mode]
    with pytest.raises(UserError, match=f"mode, not in {world.mode}"):
        world.service().state()
