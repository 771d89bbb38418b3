import pytest

from components.shared.kubernetes.lease import LEASES, PERMISSIONS, leased
from components.shared.machine.errors import UserError
from tests.shared.kubernetes.conftest import manifest, running

OLD, FUTURE = "2020-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"


@pytest.fixture
def namespace(tmp_path):
    with running(tmp_path, LEASES) as world:
        yield world


def held(by, renewed=FUTURE):
    spec = {"holderIdentity": by, "leaseDurationSeconds": 60, "renewTime": renewed}
    return manifest(LEASES, "lock", spec)


def holder(namespace):
    return namespace.kept.read("lock")["spec"].get("holderIdentity")


def test_a_lease_is_made_held_and_given_back(namespace):
    for run in ("run-1", "run-2"):
        with leased(namespace.objects, "lock", run):
            assert holder(namespace) == run
        assert holder(namespace) is None
    assert namespace.api.permissions() == PERMISSIONS


def test_a_lease_is_given_back_where_the_work_fails(namespace):
    with pytest.raises(KeyError), leased(namespace.objects, "lock", "run-1"):
        raise KeyError
    assert holder(namespace) is None


def test_another_holder_is_waited_for_and_then_named_as_the_reason(namespace):
    namespace.kept.create(held("run-1"))
    with (
        pytest.raises(UserError, match=r"Lease lock in namespace .* is held by another run"),
        leased(namespace.objects, "lock", "run-2", wait_seconds=5),
    ):
        pytest.fail("it was not free")
    assert sum(namespace.time.slept) >= 5


def test_a_holder_that_was_killed_loses_the_lease(namespace):
    namespace.kept.create(held("run-1", OLD))
    with leased(namespace.objects, "lock", "run-2"):
        assert holder(namespace) == "run-2"


def test_of_two_who_see_it_free_one_gets_it(namespace):
    namespace.kept.create(held(None))

    def another(method, path):
        if method == "PATCH" and holder(namespace) is None:
            namespace.kept.patch("lock", {"spec": held("run-1")["spec"]})

    namespace.api.before = another
    with (
        pytest.raises(UserError, match="held by another"),
        leased(namespace.objects, "lock", "run-2", wait_seconds=3),
    ):
        pytest.fail("another was faster")
    assert holder(namespace) == "run-1"


def test_a_lease_that_another_took_over_is_left_to_it(namespace):
    with leased(namespace.objects, "lock", "run-1"):
        namespace.kept.patch("lock", {"spec": held("run-2")["spec"]})
    assert holder(namespace) == "run-2"
