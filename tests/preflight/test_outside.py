"""Each thing that can be wrong with a cluster, by its name, with its remedy."""

import pytest

from components.preflight.cluster_checks import check_server, has_field
from components.preflight.finding import State
from components.preflight.namespace_checks import COLLECTOR, ENFORCE, secrets_of
from components.preflight.outside import absent, check_from_outside
from components.shared.kubernetes import namespace_objects as names
from components.shared.machine.errors import UserError
from tests.preflight.healthy_cluster import (
    CLAIM,
    CONFIG,
    DEPLOYMENTS,
    EXPECTED,
    IN,
    INITIALIZER,
    KATIB_CONFIG,
    NAMESPACE,
    PRIORITY,
    SECURED,
    deployment,
    gpu_limits,
    gpu_node,
    gpu_pod,
    group,
    katib_config,
    schema,
)
from tests.stand_ins.pipelines_api import PipelinesApi

FAILED, WARNING, SKIPPED = State.FAILED, State.WARNING, State.SKIPPED
KFP_DEPLOYMENTS = "/apis/apps/v1/namespaces/kubeflow/deployments"
CLASS = "/apis/storage.k8s.io/v1/storageclasses/nfs"


def claim(phase, **spec):
    return {"spec": spec, "status": {"phase": phase}}


def labelled(**labels):
    return {"metadata": {"labels": labels}, "status": {"phase": "Active"}}


def nodes(*found):
    return {"items": list(found)}


def quota(hard, used=()):
    status = {"hard": hard, "used": dict(used)}
    return {"items": [{"metadata": {"name": "team"}, "status": status}]}


def limit(kind, **most):
    spec = {"limits": [{"type": kind, "max": most}]}
    return {"items": [{"metadata": {"name": "team"}, "spec": spec}]}


TAINTED = {"taints": [{"key": "team", "value": "a", "effect": "NoSchedule"}]}
EVICTING = {"taints": [{"key": names.GPU, "effect": "NoExecute"}]}
BARE = {**gpu_node(), "metadata": {"name": "gpu-1"}}
BROKEN = {**gpu_node()["status"], "conditions": [{"type": "Ready", "status": "Unknown"}]}

CASES = {
    "no Katib": (
        "Katib",
        {"/apis/kubeflow.org/v1beta1": None},
        (
            FAILED,
            "no kubeflow.org/v1beta1 experiments, trials: no tuning",
            "katib-standalone",
        ),
    ),
    "the training operator instead of Katib": (
        "Katib",
        {"/apis/kubeflow.org/v1beta1": group("pytorchjobs", "trials")},
        (FAILED, "there is no kubeflow.org/v1beta1 experiments: no tuning", "katib-standalone"),
    ),
    "no Argo": (
        "Argo Workflows",
        {"/apis/argoproj.io/v1alpha1": None},
        (FAILED, "no pipeline runs", "kubeflow/pipelines.git"),
    ),
    "Trainer without runtimePatches": (
        "Kubeflow Trainer",
        {"/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": schema("TrainJob", "spec", "trainer")},
        (FAILED, "TrainJob has no spec.runtimePatches: it is older than 2.2", "ref=v2.3.0"),
    ),
    "KServe without spec.canary": (
        "KServe",
        {"/openapi/v3/apis/serving.kserve.io/v1beta1": schema("InferenceService", "spec")},
        (WARNING, "has no spec.canary: canaries work in Knative mode only", "v0.21.0"),
    ),
    "nothing that splits traffic": (
        "traffic splitting",
        {"/apis/gateway.networking.k8s.io/v1": None},
        (WARNING, "neither the Gateway API nor Knative: a model", "gateway-api"),
    ),
    "an old Katib": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "katib:v0.18.0"))},
        (WARNING, "0.18.0 (katib-controller in namespace kubeflow); written for 0.19", ""),
    ),
    "a controller that is down": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "k:v0.19.0", ready=0))},
        (FAILED, "katib-controller in namespace kubeflow has no ready pod", "-n kubeflow describe"),
    ),
    "an image without a version": (
        "versions",
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "r:5000/katib"))},
        (SKIPPED, "r:5000/katib says no version; 0.19 or later", ""),
    ),
    "no namespace": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": None},
        (FAILED, "there is no usable namespace", "kubectl apply -k"),
    ),
    "a namespace that goes": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": {"metadata": {}, "status": {"phase": "Terminating"}}},
        (FAILED, "reviews is being deleted", "kubectl wait --for=delete namespace/reviews"),
    ),
    "no Pod Security": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{COLLECTOR: "enabled"})},
        (WARNING, "nothing is enforced", f"label namespace reviews {ENFORCE}=restricted"),
    ),
    "trials without a collector": (
        "namespace",
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{ENFORCE: "restricted"})},
        (FAILED, "no trial would report its metrics", f"{COLLECTOR}=enabled"),
    ),
    "a Katib whose pods are refused": (
        "namespace",
        {KATIB_CONFIG: katib_config(False, SECURED)},
        (FAILED, "katib-config lacks injectSecurityContext", "edit configmap katib-config"),
    ),
    "a Katib whose search is refused": (
        "namespace",
        {KATIB_CONFIG: katib_config(True, {"allowPrivilegeEscalation": True})},
        (FAILED, "lacks a securityContext of the suggestion random", "manifests/README.md"),
    ),
    "a Katib that is as it came": (
        "namespace",
        {KATIB_CONFIG: {"data": {}}},
        (FAILED, "lacks injectSecurityContext and a securityContext", "manifests/README.md"),
    ),
    "a KServe whose pods are refused": (
        "namespace",
        {INITIALIZER: {"spec": {"container": {"name": "storage-initializer"}}}},
        (WARNING, "its storage initializer has no security context", "clusterstoragecontainer"),
    ),
    "no ConfigMap": (
        "configuration",
        {CONFIG: None},
        (FAILED, "there is no ConfigMap review-sentiment-config", "kubectl apply -k"),
    ),
    "a ConfigMap without a key": (
        "configuration",
        {CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}}},
        (FAILED, "review-sentiment-config lacks STATE_DIR", "kubectl apply -k"),
    ),
    "no claim": (
        "storage",
        {CLAIM: None},
        (FAILED, "there is no PersistentVolumeClaim review-sentiment-state", "kubectl apply -k"),
    ),
    "a lost volume": ("storage", {CLAIM: claim("Lost")}, (FAILED, "is Lost", "describe pvc")),
    "no default storage class": (
        "storage",
        {CLAIM: claim("Pending")},
        (FAILED, "the cluster has no default one", "kubectl get storageclass"),
    ),
    "an unknown storage class": (
        "storage",
        {CLAIM: claim("Pending", storageClassName="nfs")},
        (FAILED, "storage class nfs, which does not exist", "kubectl get storageclass"),
    ),
    "a volume that is made for the first pod": (
        "storage",
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "WaitForFirstConsumer"},
        },
        (WARNING, "waits for the first pod that mounts it (storage class nfs)", ""),
    ),
    "a volume that is not made": (
        "storage",
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "Immediate"},
        },
        (FAILED, "waits for a volume of storage class nfs", "describe pvc"),
    ),
    "no service account": (
        "service account",
        {f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}": None},
        (FAILED, "there is no service account review-sentiment-pipeline", "kubectl apply -k"),
    ),
    "no priority class": (
        "PriorityClass",
        {PRIORITY: None},
        (FAILED, "there is no PriorityClass low", "kubectl apply -k"),
    ),
    "no Secret for the steps": (
        "server",
        {f"{IN}/secrets/{names.FEATURE_STORE_SECRET}": None},
        (FAILED, "there is no Secret", "--from-literal=PGHOST=… --from-literal=PGPASSWORD=…"),
    ),
    "no Secret for a server": (
        ("server", {"secrets": {}}),
        {f"{IN}/secrets/review-sentiment-mlflow": None},
        (FAILED, "no Secret review-sentiment-mlflow", "generic review-sentiment-mlflow --from"),
    ),
    "a server that is down": (
        ("server", {"secrets": {}}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=0))},
        (FAILED, "Deployment mlflow, 0 of 1 pod ready", "describe deployment mlflow"),
    ),
    "a server that is half up": (
        ("server", {"secrets": {}}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=1, replicas=2))},
        (WARNING, "Deployment mlflow, 1 of 2 pods ready", "describe deployment mlflow"),
    ),
    "too small a quota": (
        "quota",
        {f"{IN}/resourcequotas": quota({"limits.memory": "16Gi"})},
        (FAILED, "team allows 16Gi limits.memory; the largest step asks for 32G", "edit"),
    ),
    "a quota that is used up": (
        "quota",
        {f"{IN}/resourcequotas": quota({"requests.cpu": "10"}, {"requests.cpu": "2500m"})},
        (WARNING, "10 requests.cpu, of which 2500m are taken; a step that asks for 8 waits", "pod"),
    ),
    "too low a limit": (
        "quota",
        {f"{IN}/limitranges": limit("Container", memory="8Gi")},
        (FAILED, "team allows a container 8Gi memory; the largest step asks for 32G", "edit"),
    ),
    "no GPU": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes({"metadata": {"name": "cpu-1"}})},
        (FAILED, "no node offers nvidia.com/gpu, the training asks for 2", "TRAINING_GPUS=0"),
    ),
    "too few GPUs": (
        ("GPUs", {"gpus": 8}),
        {},
        (FAILED, "4 on 1 node that training can use; it asks for 8", "TRAINING_GPUS=4"),
    ),
    "GPUs that are busy": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/pods": nodes(gpu_pod(1), gpu_pod(2), gpu_pod(4, "gpu-2"))},
        (WARNING, "1 free; training that asks for 2 waits", "kubectl get pods -A"),
    ),
    "a GPU node without its label": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(BARE)},
        (FAILED, "0 on 0 nodes", "kubectl label node gpu-1 nvidia.com/gpu.present=true"),
    ),
    "a GPU node with a strange taint": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**TAINTED), gpu_node("gpu-2"))},
        (WARNING, "its taint team=a:NoSchedule is not tolerated", "taint node gpu-1 team:NoSch"),
    ),
    "a GPU node that evicts": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**EVICTING), gpu_node("gpu-2"))},
        (WARNING, "its taint nvidia.com/gpu:NoExecute is not tolerated", "NoExecute-"),
    ),
    "a cordoned GPU node": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(unschedulable=True), gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is cordoned", "kubectl uncordon gpu-1"),
    ),
    "a GPU node that is down": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes({**gpu_node(), "status": BROKEN}, gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is not ready", "kubectl describe node gpu-1"),
    ),
}


def rows(cluster, row):
    """The row of a case: its name, or its name with what else is expected."""
    name, expected = (row, {}) if isinstance(row, str) else row
    return lambda: cluster.bad(name, **expected)


@pytest.mark.parametrize(("row", "change", "wanted"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_named_with_its_remedy(cluster, row, change, wanted):
    bad, (state, text, remedy) = rows(cluster, row), wanted
    if change:
        assert bad() == []
    for path, content in change.items():
        cluster.server.objects[path] = content
        if content is None:
            del cluster.server.objects[path]

    finding = next(one for one in bad() if one.state is state)

    assert text in finding.text
    assert remedy in finding.remedy
    assert bool(finding.remedy) == bool(remedy)


PREFERRED_NOT = {"taints": [{"key": "team", "effect": "PreferNoSchedule"}]}
FILLED_IN = "review-sentiment/pod-security-defaults"
FULL = {"requests.cpu": "10", "limits.memory": "32G"}, {"requests.cpu": "2"}
INIT = {"spec": {"nodeName": "gpu-1", "containers": [{}], "initContainers": [gpu_limits(3)]}}

EDGES = {
    "as many GPUs as are asked for": (
        ("GPUs", {"gpus": 4}),
        {"/api/v1/pods": nodes()},
        "4 on 1 node that training can use, 4 free",
    ),
    "a taint that only prefers": (
        ("GPUs", {"gpus": 2}),
        {"/api/v1/nodes": nodes(gpu_node(**PREFERRED_NOT))},
        "4 on 1 node",
    ),
    "a GPU that an init container holds": (
        ("GPUs", {"gpus": 1}),
        {"/api/v1/pods": nodes(INIT)},
        "1 free",
    ),
    "operators that leave it to our admission policy": (
        "namespace",
        {
            f"/api/v1/namespaces/{NAMESPACE}": labelled(
                **{ENFORCE: "restricted", COLLECTOR: "enabled", FILLED_IN: "enabled"}
            ),
            KATIB_CONFIG: {"data": {}},
        },
        "our admission policy fills in",
    ),
    "a quota that the largest step just fits": (
        "quota",
        {f"{IN}/resourcequotas": quota(*FULL), f"{IN}/limitranges": limit("Pod", memory="32G")},
        "leaves room for the largest step (8 cpu, 32G memory)",
    ),
}


@pytest.mark.parametrize(("row", "change", "text"), EDGES.values(), ids=EDGES)
def test_what_is_just_enough_is_enough(cluster, row, change, text):
    cluster.server.objects |= change
    name, expected = (row, {}) if isinstance(row, str) else row

    assert cluster.bad(name, **expected) == []
    assert text in cluster.findings(name, **expected)[-1].text


UNREADABLE = (
    ("GET /apis/kubeflow.org/.*", "Katib", "kubeflow.org/v1beta1 experiments, trials"),
    ("GET /openapi/.*", "Kubeflow Trainer", "schema of trainer.kubeflow.org/v1alpha1"),
    ("GET /api/v1/namespaces/reviews", "namespace", "usable namespace"),
    ("GET .*/katib-config", "namespace", "ConfigMap katib-config in namespace kubeflow"),
    ("GET .*/clusterstoragecontainers/.*", "namespace", "ClusterStorageContainer default"),
    ("GET .*/configmaps/.*", "configuration", "ConfigMap"),
    ("GET .*/persistentvolumeclaims/.*", "storage", "PersistentVolumeClaim"),
    ("GET .*/servingruntimes/.*", "ServingRuntime", "ServingRuntime review-sentiment"),
    ("GET .*/priorityclasses/.*", "PriorityClass", "PriorityClass low"),
    ("GET .*/secrets/.*", "server", "Secret review"),
    ("GET .*/statefulsets", "server", "StatefulSets"),
    ("GET .*/limitranges", "quota", "LimitRanges"),
    ("GET /api/v1/nodes", "GPUs", "nodes"),
)


@pytest.mark.parametrize(("address", "row", "what"), UNREADABLE)
def test_what_the_user_may_not_read_is_skipped(cluster, address, row, what):
    cluster.server.refused[address] = (403, 'User "kim" cannot get it')

    bad = [one for one in cluster.bad(row) if one.state is SKIPPED]

    assert f"you may not read {what}" in bad[0].text


def test_free_gpus_are_unknown_where_pods_may_not_be_listed(cluster):
    cluster.server.refused["GET /api/v1/pods"] = (403, "no")

    (finding,) = cluster.findings("GPUs")

    assert finding.state is State.PASSED
    assert "you may not list all pods" in finding.text


def test_versions_name_the_namespaces_that_are_closed(cluster):
    cluster.server.refused["GET .*/kserve/deployments"] = (403, "no")

    assert cluster.bad("versions")[-1].text == "KServe: you may not list Deployments in kserve"


def test_no_value_of_a_secret_is_asked_for(cluster):
    cluster.findings("server")

    asked = [headers for path, headers, _ in cluster.server.sent if "/secrets/" in path]
    assert asked
    assert all("PartialObjectMetadata" in headers["Accept"] for headers in asked)


def test_the_secrets_that_a_pod_cannot_start_without():
    def of(key, **more):
        return {"name": key, "valueFrom": {"secretKeyRef": {"name": "a", "key": key, **more}}}

    pod = {
        "initContainers": [{"env": [of("X"), of("Y", optional=True), {"name": "Z"}]}],
        "containers": [{"env": [of("W")], "envFrom": [{"secretRef": {"name": "b"}}]}],
        "volumes": [
            {"secret": {"secretName": "c", "items": [{"key": "tls.crt"}]}},
            {"secret": {"secretName": "d", "optional": True}},
            {"emptyDir": {}},
        ],
    }

    assert secrets_of(pod) == {"a": {"X", "W"}, "b": set(), "c": {"tls.crt"}}


def test_a_field_is_looked_for_in_its_own_kind():
    document = schema("TrainJob", "spec", "runtimePatches")

    assert has_field(document, "TrainJob", "spec.runtimePatches")
    assert not has_field(document, "TrainJob", "spec.podTemplateOverrides")
    assert not has_field(document, "TrainJobList", "spec")
    assert not has_field({}, "TrainJob", "spec")


class TestWhole:
    """All rows in their groups."""

    def findings(self, cluster):
        return [one for _, found in check_from_outside(cluster.api, EXPECTED) for one in found]

    def test_a_healthy_cluster_passes_everything(self, cluster):
        groups = dict(check_from_outside(cluster.api, EXPECTED))
        assert list(groups) == ["Cluster", "Kubeflow", "Namespace reviews", "GPUs"]
        assert [len(found) for found in groups.values()] == [1, 14, 17, 1]
        assert {one.state for found in groups.values() for one in found} == {State.PASSED}
        said = {one.name: one.text for found in groups.values() for one in found}
        assert said["API server"] == "Kubernetes v1.34.2, you are kim@example.org"
        assert said["Argo Workflows"] == "argoproj.io/v1alpha1 workflows, workflowtaskresults"
        assert said["KServe version"] == "0.21.0, kserve-controller-manager in namespace kserve"
        assert said["storage"] == "claim review-sentiment-state is bound, 20Gi ReadWriteMany"
        assert said["server"] == "Deployment mlflow, 2 of 2 pods ready"
        assert said["GPUs"] == "4 on 1 node that training can use, 3 free"

    def test_without_a_namespace_the_rest_is_still_checked(self, cluster):
        del cluster.server.objects[f"/api/v1/namespaces/{NAMESPACE}"]
        findings = self.findings(cluster)
        bad = {one.name: one.state for one in findings if one.state is not State.PASSED}
        assert bad == {"namespace": FAILED}
        assert absent(findings)

    def test_a_check_that_breaks_off_hides_no_other(self, cluster):
        cluster.server.refused["GET /api/v1/nodes"] = (500, "etcd has no leader")
        (bad,) = [one for one in self.findings(cluster) if one.state is not State.PASSED]
        assert bad.name == "GPUs"
        assert "etcd has no leader" in bad.text

    def test_an_answer_that_is_not_understood_is_not_a_crash(self, cluster):
        cluster.server.objects[KATIB_CONFIG] = {"data": {"katib-config.yaml": "{"}}
        cluster.server.objects["/api/v1/nodes"] = {"items": [{"kind": "Node"}]}
        said = {one.name: one.text for one in self.findings(cluster)}
        assert said["GPUs"] == "the answer is not understood (KeyError: 'metadata')"
        assert said["namespace"].startswith("the answer is not understood (ParserError")


class TestServer:
    def test_an_old_one_and_an_unchecked_certificate_are_warnings(self, cluster):
        cluster.api.client.configuration.verify_ssl = False
        (finding,) = check_server(cluster.api)
        assert (finding.state, "does not check its certificate" in finding.text) == (WARNING, True)
        cluster.server.objects["/version"] = {"gitVersion": "v1.30.4-eks-1"}
        (finding,) = check_server(cluster.api)
        assert finding.state is WARNING
        assert "v1.30.4-eks-1, you are kim@example.org; Kubeflow Trainer needs 1.31" in finding.text

    @pytest.mark.parametrize(
        ("refused", "words"),
        [
            ({".*": (401, "Unauthorized")}, "does not accept the credentials"),
            # A login plug-in of a kubeconfig that fails leaves the client without any.
            (
                {"POST .*/selfsubjectreviews": (403, 'User "system:anonymous" cannot create')},
                "system:anonymous; log in again",
            ),
            ({"GET /version": (404, "no")}, "is not a Kubernetes API server"),
        ],
    )
    def test_what_cannot_be_asked_ends_it(self, cluster, refused, words):
        cluster.server.refused |= refused
        with pytest.raises(UserError, match=words):
            list(check_from_outside(cluster.api, EXPECTED))


PROXY = "/api/v1/namespaces/{}/services/ml-pipeline:http/proxy/apis/v2beta1/healthz"


class TestPipelines:
    """Kubeflow Pipelines, through the API server and at an endpoint."""

    def check(self, cluster, **expected):
        (finding,) = cluster.findings("Pipelines API", **expected)
        return finding

    @pytest.mark.parametrize(
        ("status", "state", "remedy"),
        [(403, SKIPPED, "port-forward"), (404, FAILED, "make preflight KFP_ENDPOINT=")],
    )
    def test_not_through_the_api_server(self, cluster, status, state, remedy):
        cluster.server.refused[f"GET {PROXY.format('kubeflow')}"] = (status, "no")
        assert self.check(cluster).state is state
        assert remedy in self.check(cluster).remedy

    @pytest.fixture
    def endpoint(self):
        server = PipelinesApi()
        server.health = (200, '{"apiServerTagName": "2.17.0"}')
        yield server
        server.close()

    def test_an_endpoint_that_answers(self, cluster, endpoint):
        finding = self.check(cluster, kfp_endpoint=endpoint.url + "/")
        assert finding.state is State.PASSED
        assert finding.text == f"{endpoint.url} answers (2.17.0)"

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            ((302, ""), "asks for a login (302)"),
            ((401, ""), "asks for a login (401)"),
            ((200, "<html>"), "not as Kubeflow Pipelines"),
            ((502, "{}"), "answers 502"),
        ],
    )
    def test_an_endpoint_that_answers_otherwise(self, cluster, endpoint, answer, text):
        endpoint.health = answer
        finding = self.check(cluster, kfp_endpoint=endpoint.url)
        assert (finding.state, text in finding.text) == (FAILED, True)

    @pytest.mark.parametrize(
        ("health", "text", "remedy"),
        [
            ({"multi_user": True}, "go to a profile's namespace, not to reviews", "NAMESPACE=…"),
            ({"multi_user": False}, "runs go to namespace kubeflow, not to reviews", "=kubeflow"),
            ({"apiServerReady": False}, "API server of Pipelines behind it does not", "ml-pipel"),
        ],
        ids=["multi-user", "standalone", "the dashboard alone"],
    )
    def test_runs_that_would_not_go_to_the_namespace(self, cluster, health, text, remedy):
        installed_in = "reviews" if health.get("multi_user") else "kubeflow"
        cluster.server.objects[PROXY.format(installed_in)] = health
        finding = self.check(cluster, kfp_namespace=installed_in)
        assert finding.state is FAILED
        assert text in finding.text
        assert remedy in finding.remedy

    def test_a_closed_endpoint(self, cluster):
        finding = self.check(cluster, kfp_endpoint="http://127.0.0.1:9")
        assert finding.state is FAILED
        assert "http://127.0.0.1:9 cannot be reached" in finding.text
        assert finding.remedy == "kubectl -n kubeflow port-forward service/ml-pipeline 8888"
