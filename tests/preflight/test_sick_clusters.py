"""Each thing that can be amiss with a cluster, by its name, with its remedy."""

import pytest

from components.preflight.finding import State
from components.preflight.gpus import check_gpus
from components.preflight.kinds import check_kinds, has_field
from components.preflight.namespace import (
    _COLLECTOR,
    _ENFORCE,
    check_claim,
    check_config_map,
    check_namespace,
    check_objects,
)
from components.preflight.priorities import check_priorities
from components.preflight.quota import check_quota
from components.preflight.server import check_server
from components.preflight.versions import check_versions
from components.preflight.workloads import check_workloads, secrets_of
from components.shared.kubernetes import namespace_objects as names
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

FAILED, WARNING, UNKNOWN = State.FAILED, State.WARNING, State.NOT_CHECKED
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
    "old Kubernetes": (
        check_server,
        {"/version": {"gitVersion": "v1.30.4-eks-1"}},
        (WARNING, "v1.30.4-eks-1, you are kim@example.org; Kubeflow Trainer needs 1.31", ""),
    ),
    "no Katib": (
        check_kinds,
        {"/apis/kubeflow.org/v1beta1": None},
        (FAILED, "kubeflow.org/v1beta1 experiments, trials not served", "katib-standalone"),
    ),
    "the training operator instead of Katib": (
        check_kinds,
        {"/apis/kubeflow.org/v1beta1": group("pytorchjobs", "trials")},
        (FAILED, "kubeflow.org/v1beta1 experiments not served: no tuning", "katib-standalone"),
    ),
    "no Argo": (
        check_kinds,
        {"/apis/argoproj.io/v1alpha1": None},
        (FAILED, "no pipeline runs", "kubeflow/pipelines.git"),
    ),
    "Trainer without runtimePatches": (
        check_kinds,
        {"/openapi/v3/apis/trainer.kubeflow.org/v1alpha1": schema("TrainJob", "spec", "trainer")},
        (FAILED, "TrainJob has no spec.runtimePatches: it is older than 2.2", "ref=v2.3.0"),
    ),
    "KServe without spec.canary": (
        check_kinds,
        {"/openapi/v3/apis/serving.kserve.io/v1beta1": schema("InferenceService", "spec")},
        (WARNING, "has no spec.canary: canaries work in Knative mode only", "v0.21.0"),
    ),
    "nothing that splits traffic": (
        check_kinds,
        {"/apis/gateway.networking.k8s.io/v1": None},
        (WARNING, "neither the Gateway API nor Knative", "gateway-api"),
    ),
    "an old Katib": (
        lambda api: check_versions(api, "kubeflow"),
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "katib:v0.18.0"))},
        (WARNING, "0.18.0 (katib-controller in namespace kubeflow); written for 0.19", ""),
    ),
    "a controller that is down": (
        lambda api: check_versions(api, "kubeflow"),
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "k:v0.19.0", ready=0))},
        (FAILED, "katib-controller in namespace kubeflow has no ready pod", "-n kubeflow describe"),
    ),
    "an image without a version": (
        lambda api: check_versions(api, "kubeflow"),
        {KFP_DEPLOYMENTS: nodes(deployment("katib-controller", "kubeflow", "r:5000/katib"))},
        (UNKNOWN, "r:5000/katib tells no version; 0.19 or later", ""),
    ),
    "no namespace": (
        check_namespace,
        {f"/api/v1/namespaces/{NAMESPACE}": None},
        (FAILED, "there is no namespace reviews", "kubectl apply -k"),
    ),
    "a namespace that goes": (
        check_namespace,
        {f"/api/v1/namespaces/{NAMESPACE}": {"metadata": {}, "status": {"phase": "Terminating"}}},
        (FAILED, "reviews is being deleted", "kubectl wait --for=delete namespace/reviews"),
    ),
    "no Pod Security": (
        check_namespace,
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{_COLLECTOR: "enabled"})},
        (WARNING, "nothing is enforced", f"label namespace reviews {_ENFORCE}=restricted"),
    ),
    "trials without a collector": (
        check_namespace,
        {f"/api/v1/namespaces/{NAMESPACE}": labelled(**{_ENFORCE: "restricted"})},
        (FAILED, "no trial would report its metrics", f"{_COLLECTOR}=enabled"),
    ),
    "a Katib whose pods are refused": (
        check_namespace,
        {KATIB_CONFIG: katib_config(False, SECURED)},
        (FAILED, "katib-config lacks injectSecurityContext", "edit configmap katib-config"),
    ),
    "a Katib whose search is refused": (
        check_namespace,
        {KATIB_CONFIG: katib_config(True, {"allowPrivilegeEscalation": True})},
        (FAILED, "lacks a securityContext of the suggestion random", "manifests/README.md"),
    ),
    "a Katib that is as it came": (
        check_namespace,
        {KATIB_CONFIG: {"data": {}}},
        (FAILED, "lacks injectSecurityContext and a securityContext", "manifests/README.md"),
    ),
    "a KServe whose pods are refused": (
        check_namespace,
        {INITIALIZER: {"spec": {"container": {"name": "storage-initializer"}}}},
        (WARNING, "its storage initializer has no security context", "clusterstoragecontainer"),
    ),
    "no ConfigMap": (
        lambda api: check_config_map(api, EXPECTED.config_keys),
        {CONFIG: None},
        (FAILED, "there is no ConfigMap review-sentiment-config", "kubectl apply -k"),
    ),
    "a ConfigMap without a key": (
        lambda api: check_config_map(api, EXPECTED.config_keys),
        {CONFIG: {"data": {"MLFLOW_TRACKING_URI": "http://mlflow:5000"}}},
        (FAILED, "review-sentiment-config lacks STATE_DIR", "kubectl apply -k"),
    ),
    "no claim": (
        check_claim,
        {CLAIM: None},
        (FAILED, "there is no PersistentVolumeClaim review-sentiment-state", "kubectl apply -k"),
    ),
    "a lost volume": (check_claim, {CLAIM: claim("Lost")}, (FAILED, "is Lost", "describe pvc")),
    "no default storage class": (
        check_claim,
        {CLAIM: claim("Pending")},
        (FAILED, "the cluster has no default one", "kubectl get storageclass"),
    ),
    "an unknown storage class": (
        check_claim,
        {CLAIM: claim("Pending", storageClassName="nfs")},
        (FAILED, "storage class nfs, which does not exist", "kubectl get storageclass"),
    ),
    "a volume that is made for the first pod": (
        check_claim,
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "WaitForFirstConsumer"},
        },
        (WARNING, "waits for the first pod that mounts it (storage class nfs)", ""),
    ),
    "a volume that is not made": (
        check_claim,
        {
            CLAIM: claim("Pending", storageClassName="nfs"),
            CLASS: {"volumeBindingMode": "Immediate"},
        },
        (FAILED, "waits for a volume of storage class nfs", "describe pvc"),
    ),
    "no service account": (
        lambda api: check_objects(api, "review-sentiment"),
        {f"{IN}/serviceaccounts/{names.SERVICE_ACCOUNT}": None},
        (FAILED, "there is no service account review-sentiment-pipeline", "kubectl apply -k"),
    ),
    "no priority class": (
        check_priorities,
        {PRIORITY: None},
        (FAILED, "there is no PriorityClass low", "kubectl apply -k"),
    ),
    "no Secret for the steps": (
        lambda api: check_workloads(api, EXPECTED.secrets),
        {f"{IN}/secrets/{names.FEATURE_STORE_SECRET}": None},
        (FAILED, "there is no Secret", "--from-literal=PGHOST=… --from-literal=PGPASSWORD=…"),
    ),
    "no Secret for a server": (
        lambda api: check_workloads(api, {}),
        {f"{IN}/secrets/review-sentiment-mlflow": None},
        (FAILED, "no Secret review-sentiment-mlflow", "generic review-sentiment-mlflow --from"),
    ),
    "a server that is down": (
        lambda api: check_workloads(api, {}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=0))},
        (FAILED, "Deployment mlflow, 0 of 1 pod ready", "describe deployment mlflow"),
    ),
    "a server that is half up": (
        lambda api: check_workloads(api, {}),
        {DEPLOYMENTS: nodes(deployment("mlflow", NAMESPACE, "m", ready=1, replicas=2))},
        (WARNING, "Deployment mlflow, 1 of 2 pods ready", "describe deployment mlflow"),
    ),
    "too small a quota": (
        lambda api: check_quota(api, EXPECTED.largest_step),
        {f"{IN}/resourcequotas": quota({"limits.memory": "16Gi"})},
        (FAILED, "team allows 16Gi limits.memory; the largest step asks for 32G", "edit"),
    ),
    "a quota that is used up": (
        lambda api: check_quota(api, EXPECTED.largest_step),
        {f"{IN}/resourcequotas": quota({"requests.cpu": "10"}, {"requests.cpu": "2500m"})},
        (WARNING, "10 requests.cpu, of which 2500m are taken; a step that asks for 8 waits", "pod"),
    ),
    "too low a limit": (
        lambda api: check_quota(api, EXPECTED.largest_step),
        {f"{IN}/limitranges": limit("Container", memory="8Gi")},
        (FAILED, "team allows a container 8Gi memory; the largest step asks for 32G", "edit"),
    ),
    "no GPU": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes({"metadata": {"name": "cpu-1"}})},
        (FAILED, "no node offers nvidia.com/gpu, the training asks for 2", "TRAINING_GPUS=0"),
    ),
    "too few GPUs": (
        lambda api: check_gpus(api, 8),
        {},
        (FAILED, "4 on 1 node that training can use; it asks for 8", "TRAINING_GPUS=4"),
    ),
    "GPUs that are busy": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/pods": nodes(gpu_pod(1), gpu_pod(2), gpu_pod(4, "gpu-2"))},
        (WARNING, "1 free; training that asks for 2 waits", "kubectl get pods -A"),
    ),
    "a GPU node without its label": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes(BARE)},
        (FAILED, "0 on 0 nodes", "kubectl label node gpu-1 nvidia.com/gpu.present=true"),
    ),
    "a GPU node with a strange taint": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes(gpu_node(**TAINTED), gpu_node("gpu-2"))},
        (WARNING, "its taint team=a:NoSchedule is not tolerated", "taint node gpu-1 team:NoSch"),
    ),
    "a GPU node that evicts": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes(gpu_node(**EVICTING), gpu_node("gpu-2"))},
        (WARNING, "its taint nvidia.com/gpu:NoExecute is not tolerated", "NoExecute-"),
    ),
    "a cordoned GPU node": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes(gpu_node(unschedulable=True), gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is cordoned", "kubectl uncordon gpu-1"),
    ),
    "a GPU node that is down": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes({**gpu_node(), "status": BROKEN}, gpu_node("gpu-2"))},
        (WARNING, "node gpu-1 is left out: it is not ready", "kubectl describe node gpu-1"),
    ),
}


@pytest.mark.parametrize(("check", "change", "wanted"), CASES.values(), ids=CASES)
def test_what_is_amiss_is_named_with_its_remedy(cluster, objects, check, change, wanted):
    if change:
        assert {finding.state for finding in check(cluster.api)} == {State.OK}
    for path, content in change.items():
        if content is None:
            del objects[path]
        else:
            objects[path] = content
    state, told, remedy = wanted

    amiss = [finding for finding in check(cluster.api) if finding.state is not State.OK]

    found = next(finding for finding in amiss if finding.state is state)
    assert told in found.told
    assert remedy in found.remedy
    assert bool(found.remedy) == bool(remedy)


PREFERRED_NOT = {"taints": [{"key": "team", "effect": "PreferNoSchedule"}]}
FULL = {"requests.cpu": "10", "limits.memory": "32G"}, {"requests.cpu": "2"}
INIT = {"spec": {"nodeName": "gpu-1", "containers": [{}], "initContainers": [gpu_limits(3)]}}

EDGES = {
    "as many GPUs as are asked for": (
        lambda api: check_gpus(api, 4),
        {"/api/v1/pods": nodes()},
        "4 on 1 node that training can use, 4 free",
    ),
    "a taint that only prefers": (
        lambda api: check_gpus(api, 2),
        {"/api/v1/nodes": nodes(gpu_node(**PREFERRED_NOT))},
        "4 on 1 node",
    ),
    "a GPU that an init container holds": (
        lambda api: check_gpus(api, 1),
        {"/api/v1/pods": nodes(INIT)},
        "1 free",
    ),
    "operators that leave it to our admission policy": (
        lambda api: check_namespace(api)[-1:],
        {
            f"/api/v1/namespaces/{NAMESPACE}": labelled(
                **{_ENFORCE: "restricted", "review-sentiment/pod-security-defaults": "enabled"}
            ),
            KATIB_CONFIG: {"data": {}},
        },
        "our admission policy fills in",
    ),
    "a quota that the largest step just fits": (
        lambda api: check_quota(api, EXPECTED.largest_step),
        {f"{IN}/resourcequotas": quota(*FULL), f"{IN}/limitranges": limit("Pod", memory="32G")},
        "leaves room for the largest step (8 cpu, 32G memory)",
    ),
}


@pytest.mark.parametrize(("check", "change", "told"), EDGES.values(), ids=EDGES)
def test_what_is_just_enough_is_enough(cluster, objects, check, change, told):
    objects |= change

    (found,) = check(cluster.api)

    assert found.state is State.OK
    assert told in found.told


def test_a_certificate_that_is_not_checked_is_told(cluster):
    cluster.api.client.configuration.verify_ssl = False

    (found,) = check_server(cluster.api)

    assert found.state is State.WARNING
    assert "does not check its certificate" in found.told


LOOKS = (
    ("GET /apis/kubeflow.org/.*", check_kinds, "kinds of kubeflow.org/v1beta1"),
    ("GET /openapi/.*", check_kinds, "fields of trainer.kubeflow.org/v1alpha1"),
    ("GET /api/v1/namespaces/reviews", check_namespace, "namespace reviews"),
    ("GET .*/katib-config", check_namespace, "ConfigMap katib-config in namespace kubeflow"),
    ("GET .*/clusterstoragecontainers/.*", check_namespace, "ClusterStorageContainer default"),
    ("GET .*/configmaps/.*", lambda api: check_config_map(api, ("KEY",)), "ConfigMap"),
    ("GET .*/persistentvolumeclaims/.*", check_claim, "PersistentVolumeClaim"),
    ("GET .*/servingruntimes/.*", lambda api: check_objects(api, "x"), "ServingRuntime x"),
    ("GET .*/priorityclasses/.*", check_priorities, "PriorityClass low"),
    ("GET .*/secrets/.*", lambda api: check_workloads(api, EXPECTED.secrets), "Secret review"),
    ("GET .*/statefulsets", lambda api: check_workloads(api, {}), "StatefulSets"),
    ("GET .*/limitranges", lambda api: check_quota(api, {}), "LimitRanges"),
    ("GET /api/v1/nodes", lambda api: check_gpus(api, 1), "nodes"),
)


@pytest.mark.parametrize(("address", "check", "told"), LOOKS, ids=[told for *_, told in LOOKS])
def test_what_the_user_may_not_read_is_not_checked(cluster, address, check, told):
    cluster.server.refused[address] = (403, 'User "kim" cannot get it')

    unknown = [finding for finding in check(cluster.api) if finding.state is UNKNOWN]

    assert f"you may not read {'the ' * ('of' in told)}{told}" in unknown[0].told


def test_free_gpus_are_unknown_where_pods_may_not_be_listed(cluster):
    cluster.server.refused["GET /api/v1/pods"] = (403, "no")

    (found,) = check_gpus(cluster.api, 2)

    assert found.state is State.OK
    assert "you may not list all pods" in found.told


def test_versions_name_the_namespaces_that_are_closed(cluster):
    cluster.server.refused["GET .*/kserve/deployments"] = (403, "no")

    *_, last = check_versions(cluster.api, "kubeflow")

    assert last.told == "KServe: you may not list Deployments in kserve"


def test_no_value_of_a_secret_is_asked_for(cluster):
    check_workloads(cluster.api, EXPECTED.secrets)

    asked = [headers for _, path, headers in cluster.server.asked if "/secrets/" in path]
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
