"""The preflight against a real API server: access reviews and schemas."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from components.preflight.api import Api
from components.preflight.cluster_checks import has_field
from components.preflight.finding import State
from components.preflight.outside import Permission
from components.preflight.permission_checks import check_permissions
from components.shared.kubernetes import namespace_objects as names
from pipelines.running.preflight import permissions
from tests.preflight.healthy_cluster import EXPECTED
from tests.stand_ins.real_namespace import MARKS, RealNamespace

ROLE = Path(__file__).resolve().parents[2] / "manifests/base/pipeline/role.yaml"

pytestmark = MARKS


@pytest.fixture(scope="module")
def api():
    namespace = RealNamespace()
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace.make(names.SERVICE_ACCOUNT, names.PREDICTOR_SERVICE_ACCOUNT, **enforced)
    namespace.bind(names.SERVICE_ACCOUNT, yaml.safe_load(ROLE.read_text(encoding="utf-8")))
    yield Api(namespace.admin, namespace.name)
    namespace.delete()


def check(api, wanted):
    return check_permissions(api, replace(EXPECTED, permissions=wanted), {})


def test_the_role_of_the_manifests_is_enough(api):
    (found,) = check(api, permissions())
    assert found.state is State.PASSED


def test_what_the_role_does_not_grant_is_named(api):
    beyond = (Permission("kubeflow.org", "experiments", "update"), Permission("", "secrets", "get"))
    said = [finding.text for finding in check(api, (*permissions(), *beyond))]
    account = names.SERVICE_ACCOUNT
    assert said == [
        f"{account} may not update experiments.kubeflow.org",
        f"{account} may not get secrets",
    ]


def test_a_field_is_found_in_the_schema_that_the_server_publishes(api):
    document = api.get("/openapi/v3/apis/apps/v1").found
    assert has_field(document, "Deployment", "spec")
    assert not has_field(document, "Deployment", "spec.canary")
