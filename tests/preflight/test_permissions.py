import pytest

from components.preflight.finding import State
from tests.preflight.clusters import EXPECTED, USER

ABOUT_OTHERS = "POST .*/subjectaccessreviews"
ABOUT_SELF = "POST .*/selfsubjectaccessreviews"


def only_for(account):
    """A rule that allows one user everything but to delete and to read logs."""
    return lambda wanted, user: (
        user == account and wanted["verb"] != "delete" and wanted["subresource"] != "log"
    )


@pytest.mark.parametrize("closed", [None, ABOUT_OTHERS], ids=["asks about it", "acts as it"])
def test_each_verb_is_asked_of_the_service_account(cluster, closed):
    if closed:
        cluster.server.refused[closed] = (403, "no")
    cluster.server.may = only_for(USER)
    first, second = cluster.findings("permissions")
    assert (first.state, second.state) == (State.FAILED, State.FAILED)
    assert first.text == "review-sentiment-pipeline may not delete experiments.kubeflow.org"
    assert second.text == "review-sentiment-pipeline may not get pods/log"
    assert "can-i delete experiments.kubeflow.org -n reviews --as=" + USER in first.remedy
    assert "can-i get pods --subresource=log" in second.remedy


def test_all_is_one_line_and_so_is_nothing(cluster):
    (found,) = cluster.findings("permissions")
    assert found.state is State.PASSED
    assert found.text == "review-sentiment-pipeline may do all 4 things it has to"
    assert len(cluster.server.asked) == 1 + len(EXPECTED.permissions)
    # Rights that all service accounts have would not be found without the groups.
    specs = [body["spec"] for _, _, body in cluster.server.sent]
    assert {spec["user"] for spec in specs} == {USER}
    groups = {"serviceaccounts", "serviceaccounts:reviews", "authenticated"}
    assert set(specs[0]["groups"]) == {f"system:{name}" for name in groups}
    cluster.server.may = lambda wanted, user: False
    (found,) = cluster.findings("permissions")
    assert found.state is State.FAILED
    assert "may do nothing" in found.text
    assert "kubectl apply -k" in found.remedy


def test_a_user_who_may_ask_neither_way_learns_that_nothing_is_known(cluster):
    cluster.server.refused[ABOUT_OTHERS] = (403, "no")
    cluster.server.refused[ABOUT_SELF] = (403, 'User "kim" cannot impersonate')

    def as_kim(method, path, query, body):
        # Only impersonation is refused: what kim asks about kim is answered.
        _, headers, _ = cluster.server.sent[-1]
        if path.endswith("/selfsubjectaccessreviews") and "Impersonate-User" not in headers:
            allowed = body["spec"]["resourceAttributes"]["verb"] == "get"
            return {**body, "status": {"allowed": allowed}}
        return None

    cluster.server.extra = as_kim
    (found,) = cluster.findings("permissions")
    assert found.state is State.SKIPPED
    assert "you may do 2 of the 4 things yourself" in found.text


def test_the_name_of_the_object_is_asked_for(cluster):
    cluster.server.may = lambda attributes, user: not attributes["name"]
    assert cluster.findings("permissions")[0].text.endswith("may not get configmaps/kfp-launcher")
    specs = [body["spec"]["resourceAttributes"] for _, _, body in cluster.server.sent]
    (named,) = [spec for spec in specs if spec["name"]]
    assert named | {"resource": "configmaps", "name": "kfp-launcher", "verb": "get"} == named
