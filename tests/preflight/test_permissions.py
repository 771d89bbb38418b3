"""The service account's permissions, asked in the three ways that a user may have."""

import pytest

from components.preflight.expected import Permission, permissions_of
from components.preflight.finding import State
from components.preflight.permissions import check_permissions
from tests.preflight.healthy_cluster import EXPECTED
from tests.preflight.small_api import ACCOUNT

ABOUT_OTHERS = "POST .*/subjectaccessreviews"
ABOUT_SELF = "POST .*/selfsubjectaccessreviews"


def check(cluster):
    return check_permissions(cluster.api, EXPECTED.permissions)


def only_for(account):
    """A rule that allows one user everything but to delete and to read logs."""
    return lambda wanted, user: (
        user == account and wanted["verb"] != "delete" and wanted["subresource"] != "log"
    )


@pytest.mark.parametrize("closed", [None, ABOUT_OTHERS], ids=["asks about it", "acts as it"])
def test_each_verb_is_asked_of_the_service_account(cluster, closed):
    if closed:
        cluster.server.refused[closed] = (403, "no")
    cluster.server.may = only_for(ACCOUNT)

    first, second = check(cluster)

    assert (first.state, second.state) == (State.FAILED, State.FAILED)
    assert first.told == "review-sentiment-pipeline may not delete experiments.kubeflow.org"
    assert second.told == "review-sentiment-pipeline may not get pods/log"
    assert "can-i delete experiments.kubeflow.org -n reviews --as=" + ACCOUNT in first.remedy
    assert "can-i get pods --subresource=log" in second.remedy


def test_the_account_is_asked_about_with_its_groups(cluster):
    """Rights that all service accounts have would not be found without them."""
    specs, answer = [], cluster.server.answer

    def keep(method, path, body, headers):
        specs.append((body or {}).get("spec", {}))
        return answer(method, path, body, headers)

    cluster.server.answer = keep
    check(cluster)

    assert {spec["user"] for spec in specs} == {ACCOUNT}
    assert set(specs[0]["groups"]) == {
        "system:serviceaccounts",
        "system:serviceaccounts:reviews",
        "system:authenticated",
    }


def test_all_is_one_line(cluster):
    (found,) = check(cluster)

    assert found.state is State.OK
    assert found.told == "review-sentiment-pipeline may do all 4 things it has to"
    reviews = [path for _, path, _ in cluster.server.asked]
    assert len(reviews) == 1 + len(EXPECTED.permissions)


def test_nothing_is_one_line_too(cluster):
    cluster.server.may = lambda wanted, user: False

    (found,) = check(cluster)

    assert found.state is State.FAILED
    assert "may do nothing" in found.told
    assert "kubectl apply -k" in found.remedy


def test_a_user_who_may_ask_neither_way_learns_that_nothing_is_known(cluster):
    cluster.server.refused[ABOUT_OTHERS] = (403, "no")
    asked = cluster.server.answer

    def no_impersonation(method, path, body, headers):
        if "Impersonate-User" in headers:
            return 403, {"kind": "Status", "message": 'User "kim" cannot impersonate'}
        return asked(method, path, body, headers)

    cluster.server.answer = no_impersonation
    cluster.server.may = lambda wanted, user: wanted["verb"] == "get"

    (found,) = check(cluster)

    assert found.state is State.NOT_CHECKED
    assert "you may do 2 of the 4 things yourself" in found.told


def test_the_name_of_the_object_is_asked_for(cluster):
    wanted = []
    cluster.server.may = lambda attributes, user: not wanted.append(attributes)

    check(cluster)
    cluster.server.may = lambda attributes, user: not attributes["name"]

    assert check(cluster)[0].told.endswith("may not get configmaps/kfp-launcher")
    assert {"resource": "configmaps", "name": "kfp-launcher", "verb": "get"}.items() <= max(
        wanted, key=lambda attributes: attributes["name"]
    ).items()


def test_the_rooms_permissions_are_joined():
    joined = permissions_of(
        [{("", "pods"): ("get", "list")}, {("", "pods"): ("list",), ("g", "jobs"): ("create",)}]
    )

    assert joined == (
        Permission("", "pods", "get"),
        Permission("", "pods", "list"),
        Permission("g", "jobs", "create"),
    )
