import json
from contextlib import closing

import pytest

from components.preflight.cluster_checks import check_server, has_field
from components.preflight.finding import State
from components.preflight.namespace_checks import secrets_of
from components.preflight.outside import absent, check_from_outside
from components.shared.machine.errors import UserError
from tests.preflight.clusters import (
    CASES,
    DEPLOYMENTS,
    EDGES,
    EXPECTED,
    IN,
    KATIB_CONFIG,
    PROXY,
    gpu_node,
    schema,
)
from tests.stand_ins.pipelines_api import PipelinesApi

FAILED, WARNING, SKIPPED = State.FAILED, State.WARNING, State.SKIPPED


@pytest.mark.parametrize(("row", "expected", "change", "state", "text", "remedy"), CASES)
def test_what_is_wrong_is_named_with_its_remedy(
    cluster, row, expected, change, state, text, remedy
):
    if change:
        assert cluster.bad(row, **expected) == []
    for path, content in change.items():
        cluster.server.objects[path] = content
        if content is None:
            del cluster.server.objects[path]
    finding = next(one for one in cluster.bad(row, **expected) if one.state is state)
    assert text in finding.text
    assert remedy in finding.remedy
    assert bool(finding.remedy) == bool(remedy)


@pytest.mark.parametrize(("row", "expected", "change", "text"), EDGES)
def test_what_is_just_enough_is_enough(cluster, row, expected, change, text):
    cluster.server.objects |= change
    assert cluster.bad(row, **expected) == []
    assert text in cluster.findings(row, **expected)[-1].text


UNREADABLE = (
    ("GET /apis/kubeflow.org/.*", "Katib", "read kubeflow.org/v1beta1 experiments, trials"),
    ("GET /openapi/.*", "Kubeflow Trainer", "read schema of trainer.kubeflow.org/v1alpha1"),
    ("GET /api/v1/namespaces/reviews", "namespace", "read usable namespace"),
    ("GET .*/katib-config", "namespace", "read ConfigMap katib-config in namespace kubeflow"),
    ("GET .*/clusterstoragecontainers/.*", "namespace", "read ClusterStorageContainer default"),
    ("GET .*/configmaps/.*", "configuration", "read ConfigMap"),
    ("GET .*/persistentvolumeclaims/.*", "storage", "read PersistentVolumeClaim"),
    ("GET .*/servingruntimes/.*", "ServingRuntime", "read ServingRuntime review-sentiment"),
    ("GET .*/priorityclasses/.*", "PriorityClass", "read PriorityClass low"),
    ("GET .*/secrets/.*", "server", "read Secret review"),
    ("GET .*/statefulsets", "server", "read StatefulSets"),
    ("GET .*/limitranges", "quota", "read LimitRanges"),
    ("GET /api/v1/nodes", "GPUs", "read nodes"),
    ("GET .*/kserve/deployments", "versions", "list Deployments in kserve"),
)


@pytest.mark.parametrize(("address", "row", "what"), UNREADABLE)
def test_what_the_user_may_not_read_is_skipped(cluster, address, row, what):
    cluster.server.refused[address] = (403, 'User "kim" cannot get it')
    bad = [one for one in cluster.bad(row) if one.state is SKIPPED]
    assert f"you may not {what}" in bad[0].text


def test_free_gpus_are_unknown_where_pods_may_not_be_listed(cluster):
    cluster.server.refused["GET /api/v1/pods"] = (403, "no")
    (finding,) = cluster.findings("GPUs")
    assert finding.state is State.PASSED
    assert "you may not list all pods" in finding.text


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
    def findings(self, cluster):
        return [one for _, found in check_from_outside(cluster.api, EXPECTED) for one in found]

    def bad(self, cluster):
        (bad,) = [one for one in self.findings(cluster) if one.state is not State.PASSED]
        return bad

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
        del cluster.server.objects[IN]
        bad = self.bad(cluster)
        assert (bad.name, bad.state) == ("namespace", FAILED)
        assert absent([bad])

    def test_a_check_that_breaks_off_hides_no_other(self, cluster):
        cluster.server.refused["GET /api/v1/nodes"] = (500, "etcd has no leader")
        bad = self.bad(cluster)
        assert bad.name == "GPUs"
        assert "etcd has no leader" in bad.text

    def test_an_answer_that_is_not_understood_is_not_a_crash(self, cluster):
        cluster.server.objects[KATIB_CONFIG] = {"data": {"katib-config.yaml": "{"}}
        cluster.server.objects["/api/v1/nodes"] = {"items": [{"kind": "Node"}]}
        said = {one.name: one.text for one in self.findings(cluster)}
        assert said["GPUs"] == "the answer is not understood (KeyError: 'metadata')"
        assert said["Katib, restricted"].startswith("the answer is not understood (ParserError")


class TestServer:
    def test_an_old_one_and_an_unchecked_certificate_are_warnings(self, cluster):
        old = "v1.30.4-eks-1, you are kim@example.org; Kubeflow Trainer needs 1.31"
        cluster.api.client.configuration.verify_ssl = False
        for words in ("does not check its certificate", old):
            (finding,) = check_server(cluster.api)
            assert finding.state is WARNING
            assert words in finding.text
            cluster.server.objects["/version"] = {"gitVersion": "v1.30.4-eks-1"}

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


class TestPipelines:
    def check(self, cluster, **expected):
        (finding,) = cluster.findings("Pipelines API", **expected)
        return finding

    @pytest.mark.parametrize(
        ("answer", "state", "text", "remedy"),
        [
            (403, SKIPPED, "", "port-forward"),
            (404, FAILED, "", "make preflight KFP_ENDPOINT="),
            ({"multi_user": True}, FAILED, "a profile's namespace, not to reviews", "NAMESPACE=…"),
            ({"multi_user": False}, FAILED, "to namespace kubeflow, not to reviews", "=kubeflow"),
            # The dashboard alone.
            ({"apiServerReady": False}, FAILED, "API server of Pipelines behind it", "ml-pipel"),
        ],
    )
    def test_through_the_api_server(self, cluster, answer, state, text, remedy):
        multi_user = isinstance(answer, dict) and answer.get("multi_user")
        installed_in = "reviews" if multi_user else "kubeflow"
        if isinstance(answer, int):
            cluster.server.refused[f"GET {PROXY.format(installed_in)}"] = (answer, "no")
        cluster.server.objects[PROXY.format(installed_in)] = answer
        finding = self.check(cluster, kfp_namespace=installed_in)
        assert finding.state is state
        assert text in finding.text
        assert remedy in finding.remedy

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            ((302, ""), "asks for a login (302)"),
            ((401, ""), "asks for a login (401)"),
            ((200, "<html>"), "not as Kubeflow Pipelines"),
            ((502, "{}"), "answers 502"),
            ((200, '{"apiServerTagName": "2.17.0"}'), "answers (2.17.0)"),
        ],
    )
    def test_an_endpoint(self, cluster, answer, text):
        with closing(PipelinesApi()) as endpoint:
            endpoint.health = answer
            finding = self.check(cluster, kfp_endpoint=endpoint.url + "/")
        assert finding.state is (State.PASSED if "2.17.0" in text else FAILED)
        assert f"{endpoint.url} " in finding.text
        assert text in finding.text
        closed = self.check(cluster, kfp_endpoint=endpoint.url)
        assert (closed.state, f"{endpoint.url} cannot be reached" in closed.text) == (FAILED, True)
        assert closed.remedy == "kubectl -n kubeflow port-forward service/ml-pipeline 8888"


SLICE, POOL = "nvidia.com/mig-1g.10gb", {"pool": "ml"}
SPOT = {"key": "spot", "value": "true", "effect": "NoExecute"}


class TestOnAClusterOfItsOwn:
    """With settings of manifests/cluster/pods.yaml that differ from the usual."""

    @pytest.fixture(autouse=True)
    def settings(self, monkeypatch):
        gpu = {"containers": [{"resources": {"limits": {SLICE: "1"}}}]}
        every = {"imagePullSecrets": [{"name": "regcred"}], "nodeSelector": POOL}
        specs = {"every-pod": every, "run-pods": {"tolerations": [SPOT]}, "gpu-pods": gpu}
        monkeypatch.setenv("POD_SETTINGS", json.dumps(specs))

    def test_the_login_at_the_registry_is_looked_for(self, cluster):
        finding, *servers = cluster.bad("server")
        assert "no Secret regcred" in finding.text
        assert "create secret docker-registry regcred --docker-server" in finding.remedy
        cluster.server.objects[f"{IN}/secrets/regcred"] = {}
        assert cluster.bad("server") == servers
        # Set for the pods of runs, and not copied into those of the manifests.
        assert servers
        assert {one.state for one in servers} == {WARNING}
        assert all("does not pull its image with regcred" in one.text for one in servers)
        assert "uncomment image-pull-secrets.yaml" in servers[0].remedy
        for listed in (DEPLOYMENTS, DEPLOYMENTS.replace("deployments", "statefulsets")):
            for one in cluster.server.objects[listed]["items"]:
                one["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "regcred"}]
        assert cluster.bad("server") == []

    @pytest.mark.parametrize(
        ("taint", "labels", "state", "text"),
        [
            (SPOT, POOL, State.PASSED, "7 on 1 node"),
            (SPOT, {}, FAILED, "it lacks the label pool=ml"),
            (SPOT | {"value": "false"}, POOL, FAILED, "its taint spot=false:NoExecute is not"),
            (SPOT | {"effect": "NoSchedule"}, POOL, FAILED, "spot=true:NoSchedule is not"),
        ],
    )
    def test_gpus_go_by_their_name_nodes_and_taints(self, cluster, taint, labels, state, text):
        node = gpu_node(taints=[taint])
        node["metadata"]["labels"], node["status"]["allocatable"] = labels, {SLICE: "7"}
        cluster.server.objects["/api/v1/nodes"] = {"items": [node]}
        found = cluster.findings("GPUs")
        assert found[-1].state is state
        assert text in " ".join(one.text for one in found)
