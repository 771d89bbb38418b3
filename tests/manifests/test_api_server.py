"""The manifests on a real API server, with the operators' CRDs, in namespaces of the tests' own.

Nodes are not needed: what is tested is what the server accepts. Set KUBERNETES_TEST_KUBECONFIG to a
kubeconfig of an administrator.
"""

import json
import os
import subprocess
import uuid

import pytest

from components.shared.kubernetes import namespace_objects as names
from tests.manifests.conftest import (
    MANIFESTS,
    OVERLAYS,
    build,
    labelled_pods_of,
    named,
    write_kustomization,
)
from tests.manifests.test_permissions import granted

KUBECONFIG = os.environ.get("KUBERNETES_TEST_KUBECONFIG", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not KUBECONFIG, reason="set KUBERNETES_TEST_KUBECONFIG"),
]


def kubectl(*words, given=""):
    command = ["kubectl", f"--kubeconfig={KUBECONFIG}", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=OVERLAYS)
def applied(request, tmp_path_factory):
    namespace = f"test-manifests-{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("overlay")
    write_kustomization(folder, request.param, namespace=namespace)
    words = ("apply", "--server-side", "--force-conflicts", "--validate=strict")
    first = kubectl(*words, "-k", folder)
    assert first.returncode == 0, first.stderr
    yield folder, build(folder), namespace
    kubectl("delete", "namespace", namespace, "--wait=false")


def test_applying_twice_changes_nothing(applied):
    folder, objects, _ = applied
    assert kubectl("apply", "-k", folder).returncode == 0
    again = kubectl("apply", "-k", folder)
    assert again.returncode == 0, again.stderr
    changed = [line for line in again.stdout.splitlines() if not line.endswith(" unchanged")]
    # kubectl sends the selector of a PodDisruptionBudget each time; the server sees no change.
    assert not [line for line in changed if not line.startswith("poddisruptionbudget")]
    assert len(again.stdout.splitlines()) == len(objects)


def test_pod_security_admits_every_pod(applied):
    _, objects, namespace = applied
    experiment = build(MANIFESTS / "base" / "katib" / "experiment.yaml")
    for manifest in (*objects, *experiment):
        for labels, spec in labelled_pods_of(manifest):
            if manifest["kind"] == "ServingRuntime":
                spec = {field: spec[field] for field in ("containers", "volumes")}
            name = f"{manifest['kind'].lower()}-{manifest['metadata']['name']}"
            metadata = {"name": name, "namespace": namespace, "labels": labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
            words = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
            made = kubectl(*words, given=json.dumps(pod))
            assert made.returncode == 0, made.stderr
            spoiled = {**pod, "spec": {**spec, "hostNetwork": True}}
            assert "PodSecurity" in kubectl(*words, given=json.dumps(spoiled)).stderr


def test_the_accounts_have_exactly_the_roles_permissions(applied):
    _, objects, namespace = applied

    def may(account, group, resource, verb, name=""):
        resource, _, subresource = resource.partition("/")
        asked = {"namespace": namespace, "group": group, "verb": verb, "name": name}
        asked |= {"resource": resource, "subresource": subresource}
        user = f"system:serviceaccount:{namespace}:{account}"
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        review |= {"spec": {"user": user, "resourceAttributes": asked}}
        answer = kubectl("create", "-f", "-", "-o", "json", given=json.dumps(review))
        return json.loads(answer.stdout)["status"]["allowed"]

    for (group, resource, name), verbs in granted(named(objects, "Role")).items():
        for verb in verbs:
            assert may(names.SERVICE_ACCOUNT, group, resource, verb, name)
            assert not may(names.PREDICTOR_SERVICE_ACCOUNT, group, resource, verb, name)
    for refused in (
        *("/secrets list", "/secrets get", "/pods create", "/pods/exec create"),
        *("batch/jobs create", "serving.kserve.io/inferenceservices update"),
        "rbac.authorization.k8s.io/rolebindings create",
    ):
        group, _, words = refused.partition("/")
        assert not may(names.SERVICE_ACCOUNT, group, *words.split())
