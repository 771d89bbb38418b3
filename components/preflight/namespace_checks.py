"""What an overlay puts into the namespace, and the servers, Secrets and limits in it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from components.preflight.api import ONLY_METADATA, Api, unread
from components.preflight.finding import Finding, State, failed, passed, warning
from components.preflight.outside import APPLY, Check, Expected, Right, all_right
from components.preflight.permission_checks import check_permissions
from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.pod_settings import pod_fields

ENFORCE = "pod-security.kubernetes.io/enforce"
COLLECTOR = "katib.kubeflow.org/metrics-collector-injection"
_FILLED_IN = "review-sentiment/pod-security-defaults"
"""Label of namespaces in which the component `pod-security-defaults` fills in what is missing."""

_HOW = "manifests/README.md, Pod Security"
_COPIED = (
    f"{APPLY}; first uncomment image-pull-secrets.yaml in manifests/cluster/kustomization.yaml"
)
_SELECTOR = f"{names.PART_OF_LABEL}={names.PART_OF}"
_TRAINER = "trainer.kubeflow.org/v1alpha1"
_SERVING = "serving.kserve.io/v1alpha1"
_APPS = "apps/v1"
_WITH_PODS = ((_APPS, "deployments"), (_APPS, "statefulsets"), (_TRAINER, "trainingruntimes"))

Found = dict[str, Any]


def _namespace(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    """The namespace and its labels; the first finding fails where it cannot be used."""
    name = api.namespace
    if (found.get("status") or {}).get("phase") == "Terminating":
        text = f"{name} is being deleted; wait until it is gone"
        yield failed("namespace", text, f"kubectl wait --for=delete namespace/{name}")
        return
    labels = found["metadata"].get("labels") or {}
    level, label = labels.get(ENFORCE), f"kubectl label namespace {name}"
    yield passed("namespace", name)
    if level == "restricted":
        yield passed("Pod Security", "restricted is enforced")
    else:
        # What others keep in the namespace is not ours to refuse.
        text = f"{level or 'nothing'} is enforced; our pods keep to restricted"
        yield passed("Pod Security", text)
    if labels.get(COLLECTOR) == "enabled":
        yield passed("Katib's collector", "is injected into trials")
    else:
        text = f"the namespace lacks the label {COLLECTOR}: no trial would report its metrics"
        yield failed("Katib's collector", text, f"{label} {COLLECTOR}=enabled")
    if level == "restricted" and labels.get(_FILLED_IN) == "enabled":
        yield passed("operators, restricted", "our admission policy fills in what they leave open")
    elif level == "restricted":
        for row in _OPERATORS:
            yield from row.findings(api, expected)


def _katib(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    if lacking := katib_lacks(found.get("data") or {}):
        text = f"Pod Security refuses what Katib adds to trials: katib-config lacks {lacking}"
        edit = f"kubectl -n kubeflow edit configmap katib-config   # {_HOW}"
        yield failed("Katib, restricted", text, edit)


def _kserve(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    container = (found.get("spec") or {}).get("container") or {}
    if not _secured(container.get("securityContext")):
        text = "its storage initializer has no security context: Pod Security refuses the pods"
        edit = f"kubectl edit clusterstoragecontainer default   # {_HOW}"
        yield warning("KServe, restricted", f"{text} of models that it fetches", edit)


_OPERATORS = (
    Check(
        "Katib, restricted",
        "/api/v1/namespaces/kubeflow/configmaps/katib-config",
        "ConfigMap katib-config in namespace kubeflow",
        _katib,
        "",
        State.SKIPPED,
        shown="it gives the containers that it adds a security context",
    ),
    Check(
        "KServe, restricted",
        f"/apis/{_SERVING}/clusterstoragecontainers/default",
        "ClusterStorageContainer default",
        _kserve,
        "",
        State.SKIPPED,
        shown="its storage initializer has a security context",
    ),
)
"""Whether what operators put into a namespace passes its Pod Security `restricted`. Katib gives the
containers that it adds a security context only where its configuration says so, KServe its storage
initializer; otherwise a search or a model server waits without end for pods that are refused."""


def katib_lacks(data: Mapping[str, str]) -> str:
    """What Katib's ConfigMap lacks for namespaces that enforce `restricted`; empty if nothing."""
    import yaml

    config = yaml.safe_load(data.get("katib-config.yaml", "")) or {}
    controller = (config.get("init") or {}).get("controller") or {}
    suggestions = (config.get("runtime") or {}).get("suggestions") or []
    random = [one for one in suggestions if one.get("algorithmName") == "random"]
    there = {
        "injectSecurityContext": controller.get("injectSecurityContext") is True,
        "a securityContext of the suggestion random": any(
            _secured(one.get("securityContext")) for one in random
        ),
    }
    return " and ".join(name for name, right in there.items() if not right)


def _secured(context: Any) -> bool:
    return bool(context) and context.get("allowPrivilegeEscalation") is False


def _config_map(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    """A pod without one of the keys hangs."""
    data = found.get("data") or {}
    if lacking := [key for key in expected.config_keys if key not in data]:
        text = f"ConfigMap {names.CONFIG_MAP} lacks {', '.join(lacking)}"
        yield failed("configuration", text, APPLY)


def _claim(api: Api, expected: Expected, found: Found) -> list[Finding]:
    """The volume that all steps share."""
    spec, status, claim = found["spec"], found.get("status") or {}, f"claim {names.STATE_CLAIM}"
    phase, chosen = status.get("phase"), spec.get("storageClassName")
    describe = f"kubectl -n {api.namespace} describe pvc {names.STATE_CLAIM}"
    if phase == "Bound":
        size = (status.get("capacity") or {}).get("storage", "")
        seen = f"{size} {', '.join(spec.get('accessModes') or [])}".strip()
        return [passed("storage", f"{claim} is bound, {seen}")]
    if phase != "Pending":
        return [failed("storage", f"{claim} is {phase}: its volume is gone", describe)]
    if not chosen:
        text = f"{claim} has no storage class, and the cluster has no default one"
        return [failed("storage", text, f"kubectl get storageclass\n{describe}")]
    text = f"{claim} waits for a volume of storage class {chosen}"
    answer = api.get(f"/apis/storage.k8s.io/v1/storageclasses/{chosen}")
    if answer.status == 404:
        return [failed("storage", f"{text}, which does not exist", "kubectl get storageclass")]
    if answer.good and answer.found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return [warning("storage", f"{text}, made for the first pod that mounts it")]
    return [failed("storage", text, describe)]


def _priorities(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    """Without the class that it names a pod is refused; who applies an overlay may not make it."""
    named: set[str] = set()
    for group_version, plural in _WITH_PODS:
        path = api.of_namespace(plural, group_version=group_version)
        named.update(priorities_in(api.get(path, labelSelector=_SELECTOR).items))
    for name in sorted(named):
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}"
        yield from Check("PriorityClass", path, f"PriorityClass {name}").findings(api, expected)


def priorities_in(found: Any) -> Iterator[str]:
    """Every priority class that an object names, however deep."""
    if isinstance(found, dict):
        yield from filter(None, [found.get("priorityClassName")])
        found = list(found.values())
    if isinstance(found, list):
        for part in found:
            yield from priorities_in(part)


def _servers(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    """Whether our servers have ready pods and, first, the Secrets that pods wait for exist."""
    servers: list[Finding] = []
    needed = {name: set(keys) for name, keys in expected.secrets.items()}
    logins = {secret["name"] for secret in pod_fields(gpu=False).get("imagePullSecrets", [])}
    needed |= {name: set() for name in logins}
    for plural, kind in (("deployments", "Deployment"), ("statefulsets", "StatefulSet")):
        path = api.of_namespace(plural, group_version=_APPS)
        answer = api.get(path, labelSelector=_SELECTOR)
        if not answer.good:
            servers.append(unread("server", f"{kind}s", answer))
        for one in answer.items:
            name, wanted = one["metadata"]["name"], one["spec"].get("replicas", 1)
            ready = (one.get("status") or {}).get("readyReplicas", 0)
            text = f"{kind} {name}, {ready} of {wanted} pod{'s' * (wanted != 1)} ready"
            describe = f"kubectl -n {api.namespace} describe {kind.lower()} {name}"
            bad = (warning if ready else failed)("server", text, describe)
            servers.append(passed("server", text) if ready >= wanted else bad)
            pod = one["spec"]["template"]["spec"]
            if lacking := logins - {own["name"] for own in pod.get("imagePullSecrets") or []}:
                text = f"{kind} {name} does not pull its image with {', '.join(sorted(lacking))}"
                servers.append(warning("server", text, _COPIED))
            for secret, keys in secrets_of(pod).items():
                needed.setdefault(secret, set()).update(keys)
    for name, keys in sorted(needed.items()):
        answer = api.get(api.of_namespace("secrets", name), accept=ONLY_METADATA)
        if answer.good:
            yield passed("Secret", f"{name}, values not read")
        elif answer.status != 404:
            yield unread("Secret", f"Secret {name}", answer)
        else:
            values = "".join(f" --from-literal={key}=…" for key in sorted(keys))
            kind = "generic"
            if name in logins:
                kind, values = "docker-registry", " --docker-server=… --docker-username=…"
            create = f"kubectl -n {api.namespace} create secret {kind} {name}{values}"
            remedy = f"{create}   # values: manifests/README.md"
            yield failed("Secret", f"there is no Secret {name}", remedy)
    yield from servers


def secrets_of(pod: Mapping[str, Any]) -> dict[str, set[str]]:
    """The keys that a pod (its `spec`) cannot start without, by the name of their Secret."""
    found: dict[str, set[str]] = defaultdict(set)
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        values = [one.get("valueFrom") or {} for one in container.get("env", [])]
        references = [value.get("secretKeyRef") for value in values]
        references += [one.get("secretRef") for one in container.get("envFrom", [])]
        for reference in references:
            if reference and not reference.get("optional"):
                found[reference["name"]] |= {reference["key"]} if "key" in reference else set()
    for volume in pod.get("volumes") or []:
        mounted = volume.get("secret")
        if mounted and not mounted.get("optional"):
            found[mounted["secretName"]] |= {item["key"] for item in mounted.get("items") or []}
    return dict(found)


def _quota(api: Api, expected: Expected, found: Found) -> Iterator[Finding]:
    """Whether each ResourceQuota and LimitRange leaves room for the largest step."""
    largest, findings = expected.largest_step, []
    for kinds, judge in (("ResourceQuotas", _in_quota), ("LimitRanges", _in_range)):
        answer = api.get(api.of_namespace(kinds.lower()))
        if not answer.good:
            findings.append(unread("quota", kinds, answer))
        for one in answer.items:
            for resource, amount in largest.items():
                findings += judge(f"kubectl -n {api.namespace}", one, resource, amount)
    asked = ", ".join(f"{amount} {resource}" for resource, amount in largest.items())
    yield from findings or [passed("quota", f"leaves room for the largest step ({asked})")]


def _in_quota(ours: str, quota: Found, resource: str, amount: str) -> Iterator[Finding]:
    from kubernetes.utils import parse_quantity

    status, name = quota.get("status") or {}, quota["metadata"]["name"]
    hard, used = status.get("hard") or {}, status.get("used") or {}
    for key in (resource, f"requests.{resource}", f"limits.{resource}"):
        if key not in hard:
            continue
        wanted, most, taken = map(parse_quantity, (amount, hard[key], used.get(key, "0")))
        text = f"ResourceQuota {name} allows {hard[key]} {key}"
        if wanted > most:
            text += f"; the largest step asks for {amount}"
            yield failed("quota", text, f"{ours} edit resourcequota {name}")
        elif taken + wanted > most:
            text += f", of which {used[key]} are taken; a step that asks for {amount} waits"
            yield warning("quota", text, f"{ours} get pods")


def _in_range(ours: str, limits: Found, resource: str, amount: str) -> Iterator[Finding]:
    from kubernetes.utils import parse_quantity

    name = limits["metadata"]["name"]
    for limit in limits["spec"].get("limits") or []:
        kind, most = limit["type"], (limit.get("max") or {}).get(resource)
        if kind in ("Container", "Pod") and most and parse_quantity(amount) > parse_quantity(most):
            text = f"LimitRange {name} allows a {kind.lower()} {most} {resource}; the largest step"
            yield failed("quota", f"{text} asks for {amount}", f"{ours} edit limitrange {name}")


NAMESPACE = Check(
    "namespace",
    "/api/v1/namespaces/{namespace}",
    "usable namespace; an overlay makes it, or name another",
    _namespace,
    f"{APPLY}\nmake preflight NAMESPACE=…",
)


def _row(
    name: str, what: str, right: Right = all_right, *, kind: str = "", of: str = "v1"
) -> Check:
    """A row for an object of the namespace, by default one that only has to exist."""
    path = f"{'/apis' if '/' in of else '/api'}/{of}/namespaces/{{namespace}}/{what}"
    return Check(name, path, f"{kind or name} {what.partition('/')[2]}", right)


def namespace_checks(expected: Expected) -> tuple[Check, ...]:
    """The rows of the group of the namespace."""
    account, runtime = "service account", f"servingruntimes/{expected.serving_runtime}"
    claim, config = f"persistentvolumeclaims/{names.STATE_CLAIM}", f"configmaps/{names.CONFIG_MAP}"
    return (
        _row("configuration", config, _config_map, kind="ConfigMap"),
        _row("storage", claim, _claim, kind="PersistentVolumeClaim"),
        _row(account, f"serviceaccounts/{names.SERVICE_ACCOUNT}"),
        _row(account, f"serviceaccounts/{names.PREDICTOR_SERVICE_ACCOUNT}"),
        _row("ServingRuntime", runtime, of=_SERVING),
        _row("TrainingRuntime", f"trainingruntimes/{names.TRAINING_RUNTIME}", of=_TRAINER),
        Check("PriorityClass", "", "", _priorities),
        Check("permissions", "", "", check_permissions),
        Check("server", "", "", _servers),
        Check("quota", "", "", _quota),
    )
