"""The preflight against a real API server: access reviews and schemas.

Set KUBERNETES_TEST_KUBECONFIG to a kubeconfig of an administrator.
"""

import os
import uuid
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
from components.shared.kubernetes.connection import connect
from pipelines.running.preflight import permissions
from tests.preflight.healthy_cluster import EXPECTED

KUBECONFIG = os.environ.get("KUBERNETES_TEST_KUBECONFIG", "")
ROLE = Path(__file__).resolve().parents[2] / "manifests/base/pipeline/role.yaml"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="set KUBERNETES_TEST_KUBECONFIG"),
]


@pytest.fixture(scope="module")
def api():
    from kubernetes.client import CoreV1Api, RbacAuthorizationV1Api

    client, _ = connect(kubeconfig=KUBECONFIG)
    core, rbac = CoreV1Api(client), RbacAuthorizationV1Api(client)
    namespace = f"preflight-test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": namespace, "labels": labels}})
    for account in (names.SERVICE_ACCOUNT, names.PREDICTOR_SERVICE_ACCOUNT):
        core.create_namespaced_service_account(namespace, {"metadata": {"name": account}})
    role = yaml.safe_load(ROLE.read_text(encoding="utf-8"))
    rbac.create_namespaced_role(namespace, role)
    rbac.create_namespaced_role_binding(
        namespace,
        {
            "metadata": {"name": "steps"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": role["metadata"]["name"],
            },
            "subjects": [{"kind": "ServiceAccount", "name": names.SERVICE_ACCOUNT}],
        },
    )
    yield Api(client, namespace)
    core.delete_namespace(namespace)
    client.close()


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
