"""What an overlay puts into the namespace: labels, configuration, claim, accounts, runtimes."""

from collections.abc import Mapping

from components.preflight.api import Api, missing, presence, unread
from components.preflight.expected import APPLY
from components.preflight.finding import Finding, failed, ok, warning
from components.preflight.restricted import check_restricted
from components.shared.kubernetes import namespace_objects as names

_ENFORCE = "pod-security.kubernetes.io/enforce"
_COLLECTOR = "katib.kubeflow.org/metrics-collector-injection"


def check_namespace(api: Api) -> list[Finding]:
    """The namespace itself; the first finding fails where there is none."""
    answer = api.get(f"/api/v1/namespaces/{api.namespace}")
    if answer.status == 404:
        told = f"there is no namespace {api.namespace}; an overlay makes it, or name another"
        return [failed("namespace", told, f"{APPLY}\nmake preflight NAMESPACE=…")]
    if not answer.good:
        return [unread("namespace", f"namespace {api.namespace}", answer)]
    if (answer.found.get("status") or {}).get("phase") == "Terminating":
        told = f"{api.namespace} is being deleted; wait until it is gone"
        return [failed("namespace", told, f"kubectl wait --for=delete namespace/{api.namespace}")]
    labels = answer.found["metadata"].get("labels") or {}
    return [
        ok("namespace", api.namespace),
        _pod_security(api.namespace, labels),
        _collector(api.namespace, labels),
        *(check_restricted(api, labels) if labels.get(_ENFORCE) == "restricted" else []),
    ]


def _pod_security(namespace: str, labels: Mapping[str, str]) -> Finding:
    level = labels.get(_ENFORCE)
    if level == "restricted":
        return ok("Pod Security", "restricted is enforced")
    told = f"{level or 'nothing'} is enforced, though our pods keep to restricted"
    return warning(
        "Pod Security", told, f"kubectl label namespace {namespace} {_ENFORCE}=restricted"
    )


def _collector(namespace: str, labels: Mapping[str, str]) -> Finding:
    name = "Katib's collector"
    if labels.get(_COLLECTOR) == "enabled":
        return ok(name, "is injected into trials")
    return failed(
        name,
        f"the namespace lacks the label {_COLLECTOR}: no trial would report its metrics",
        f"kubectl label namespace {namespace} {_COLLECTOR}=enabled",
    )


def check_config_map(api: Api, keys: tuple[str, ...]) -> list[Finding]:
    """The ConfigMap that becomes the steps' environment: a pod without one of its keys hangs."""
    name = f"ConfigMap {names.CONFIG_MAP}"
    answer = api.get(api.of_namespace("configmaps", names.CONFIG_MAP))
    if answer.status == 404:
        return [missing("configuration", name, APPLY)]
    if not answer.good:
        return [unread("configuration", name, answer)]
    data = answer.found.get("data") or {}
    lacking = [key for key in keys if key not in data]
    if lacking:
        return [failed("configuration", f"{name} lacks {', '.join(lacking)}", APPLY)]
    return [ok("configuration", f"{name}, {len(keys)} keys")]


def check_claim(api: Api) -> list[Finding]:
    """The volume that all steps share."""
    claim = names.STATE_CLAIM
    answer = api.get(api.of_namespace("persistentvolumeclaims", claim))
    if answer.status == 404:
        return [missing("storage", f"PersistentVolumeClaim {claim}", APPLY)]
    if not answer.good:
        return [unread("storage", f"PersistentVolumeClaim {claim}", answer)]
    phase = (answer.found.get("status") or {}).get("phase")
    spec = answer.found["spec"]
    if phase == "Bound":
        size = ((answer.found["status"].get("capacity")) or {}).get("storage", "")
        modes = ", ".join(spec.get("accessModes") or [])
        return [ok("storage", f"claim {claim} is bound, {size} {modes}".replace("  ", " "))]
    describe = f"kubectl -n {api.namespace} describe pvc {claim}"
    if phase != "Pending":
        return [failed("storage", f"claim {claim} is {phase}: its volume is gone", describe)]
    chosen = spec.get("storageClassName")
    if not chosen:
        told = f"claim {claim} has no storage class, and the cluster has no default one"
        return [failed("storage", told, f"kubectl get storageclass\n{describe}")]
    kept = api.get(f"/apis/storage.k8s.io/v1/storageclasses/{chosen}")
    if kept.status == 404:
        told = f"claim {claim} waits for storage class {chosen}, which does not exist"
        return [failed("storage", told, "kubectl get storageclass")]
    if kept.good and kept.found.get("volumeBindingMode") == "WaitForFirstConsumer":
        told = f"claim {claim} waits for the first pod that mounts it (storage class {chosen})"
        return [warning("storage", told)]
    told = f"claim {claim} waits for a volume of storage class {chosen}"
    return [failed("storage", told, describe)]


def check_objects(api: Api, serving_runtime: str) -> list[Finding]:
    """Service account and runtimes, which the pipelines name."""
    wanted = (
        ("service account", "v1", "serviceaccounts", names.SERVICE_ACCOUNT),
        ("service account", "v1", "serviceaccounts", names.PREDICTOR_SERVICE_ACCOUNT),
        ("ServingRuntime", "serving.kserve.io/v1alpha1", "servingruntimes", serving_runtime),
        (
            "TrainingRuntime",
            "trainer.kubeflow.org/v1alpha1",
            "trainingruntimes",
            names.TRAINING_RUNTIME,
        ),
    )
    findings = []
    for kind, group_version, plural, name in wanted:
        answer = api.get(api.of_namespace(plural, name, group_version))
        findings.append(presence(kind, name, answer, APPLY))
    return findings
