import json
import subprocess
import uuid
from dataclasses import replace

import pytest

from components.preflight.api import Api
from components.preflight.cluster_checks import has_field
from components.preflight.outside import permissions_of
from components.preflight.permission_checks import check_permissions
from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.connection import connect
from pipelines.running.preflight import permissions
from tests.manifests.conftest import (
    MANIFESTS,
    OVERLAYS,
    build,
    labelled_pods_of,
    write_kustomization,
)
from tests.preflight.clusters import EXPECTED
from tests.stand_ins.real_namespace import KUBECONFIG, MARKS

pytestmark = MARKS


def kubectl(*words, given=""):
    command = ["kubectl", f"--kubeconfig={KUBECONFIG}", *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=OVERLAYS)
def applied(request, tmp_path_factory):
    namespace = f"test-manifests-{uuid.uuid4().hex[:8]}"
    folder = tmp_path_factory.mktemp("overlay")
    write_kustomization(folder, request.param, ["enforce-pod-security"], namespace=namespace)
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


BEYOND = {
    ("", "pods"): ("create",),
    ("", "pods/exec"): ("create",),
    ("", "secrets"): ("get", "list"),
    ("batch", "jobs"): ("create",),
    ("kubeflow.org", "experiments"): ("update",),
    ("rbac.authorization.k8s.io", "rolebindings"): ("create",),
    ("serving.kserve.io", "inferenceservices"): ("update",),
}
"""What the role does not grant, by group and resource."""


def test_the_preflight_finds_exactly_the_roles_permissions(applied):
    _, _, namespace = applied
    client, _ = connect(kubeconfig=KUBECONFIG)
    wanted = replace(EXPECTED, permissions=(*permissions(), *permissions_of([BEYOND])))
    said = [one.text for one in check_permissions(Api(client, namespace), wanted, {})]
    assert said == [
        f"{names.SERVICE_ACCOUNT} may not {', '.join(verbs)} {resource}{group and f'.{group}'}"
        for (group, resource), verbs in BEYOND.items()
    ]


def test_a_field_is_found_in_the_schema_that_the_server_publishes():
    client, namespace = connect(kubeconfig=KUBECONFIG)
    document = Api(client, namespace).get("/openapi/v3/apis/apps/v1").found
    assert has_field(document, "Deployment", "spec")
    assert not has_field(document, "Deployment", "spec.canary")
