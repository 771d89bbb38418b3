"""The preflight against a real API server: Pod Security, access reviews, schemas, leftovers.

Set KUBERNETES_TEST_KUBECONFIG to a kubeconfig of an administrator. Nothing has to run pods there,
so that the probes wait until their deadline.
"""

import os
import uuid
from pathlib import Path

import pytest
import yaml

from components.preflight.api import Api
from components.preflight.expected import Permission
from components.preflight.finding import State
from components.preflight.kinds import has_field
from components.preflight.permissions import check_permissions
from components.preflight.probes import check_inside
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


def test_the_role_of_the_manifests_is_enough(api):
    (found,) = check_permissions(api, permissions())

    assert found.state is State.OK


def test_what_the_role_does_not_grant_is_named(api):
    beyond = (Permission("kubeflow.org", "experiments", "update"), Permission("", "secrets", "get"))

    told = [finding.told for finding in check_permissions(api, (*permissions(), *beyond))]

    account = names.SERVICE_ACCOUNT
    assert told == [
        f"{account} may not update experiments.kubeflow.org",
        f"{account} may not get secrets",
    ]


def test_probe_pods_pass_pod_security_and_are_removed(api):
    told = []

    findings = check_inside(api, EXPECTED, 2, tell=told.append)

    assert told == ["waiting for steps: starting; predictor: starting; training: starting"]
    images = [finding for finding in findings if finding.name.endswith(" image")]
    assert ["did not run to its end in time" in finding.told for finding in images] == [True] * 3
    assert api.get(api.of_namespace("pods")).items == []


def test_a_field_is_found_in_the_schema_that_the_server_publishes(api):
    document = api.get("/openapi/v3/apis/apps/v1").found

    assert has_field(document, "Deployment", "spec")
    assert not has_field(document, "Deployment", "spec.canary")
