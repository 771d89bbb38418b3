"""Each verb, carried out by KServe's stand-in: what the object, the pods and the traffic do."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.kserve.inference_service import ServiceSettings
from components.deployment.kserve.state import canary_name
from components.deployment.service import Interfered, ServiceState
from components.shared.machine.errors import UserError
from tests.deployment.kserve.test_inference_service import KEDA
from tests.deployment.rollout_world import NAME, World


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
    assert world.noted["shadow"] == "true"
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
    assert world.noted == {"model-version": "4", "model-digest": "d4"}
    predictor = world.spec["predictor"]
    assert predictor["model"]["storageUri"] == "s3://m/4"
    assert "name" not in predictor["model"]
    assert "canary" not in world.spec
    assert "canaryTrafficPercent" not in predictor


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
    mine = world.service()
    for verb, *how in (
        (other.start, 10),
        (other.ready, 10),
        (other.promote,),
        (other.roll_back, "no"),
        (mine.ready, 20),
        (mine.promote,),
    ):
        with pytest.raises(Interfered):
            verb(*how)
    for service, percent in ((other, 10), (mine, 20)):
        with pytest.raises(Interfered):
            service.shift(percent, 50, following=100)
    assert world.kept.found[NAME] == before


def test_beside_keda_a_canary_has_no_scaler_of_its_own():
    world = World("Standard", empty=True, settings=ServiceSettings.from_dict(KEDA))
    world.roll_out("3")
    shifted(world.service(), 100)
    key = "serving.kserve.io/autoscalerClass"
    assert world.spec["canary"][0]["predictor"]["annotations"][key] == "none"
    world.service().promote()
    assert key not in world.spec["predictor"]["annotations"]
    assert world.annotations[key] == "keda"


def test_the_name_of_a_canary_fits_into_a_host_name_and_is_its_own():
    versions = ("4", "2026-11-21", "1.2", "1_2", "12", "1-2", "Ä", "x" * 80, "")
    names = {canary_name(version) for version in versions}
    assert len(names) == len(versions)
    for name in names:
        # Beside a service's name of at most 40 characters, and "-predictor".
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", name)


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
            for _ in range(2):
                service.roll_back("too slow " * 500)
            rejected = {"rejected": str(number), "rejected_because": ("too slow " * 500)[:1000]}
            assert service.state() == ServiceState(stable, **rejected)
        assert world.shares == {stable: 100}
        assert world.kserve.served <= {before, str(number)}
        assert world.kserve.restarts == {}


def test_a_service_in_the_other_mode_is_refused(world):
    world.mode = {"Standard": "Knative", "Knative": "Standard"}[world.mode]
    with pytest.raises(UserError, match=f"mode, not in {world.mode}"):
        world.service().state()
