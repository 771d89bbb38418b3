"""What the pipelines need of the cluster as a whole: Kubernetes, and the parts of Kubeflow."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from components.preflight.api import Api
from components.preflight.finding import Finding, State, failed, passed, skipped, warning
from components.preflight.outside import Check, Expected
from components.shared.kubernetes.refusals import status_of
from components.shared.machine.errors import UserError

_OLDEST = (1, 31)
"""Kubernetes that Kubeflow Trainer 2.3 asks for; KServe 0.20 and Katib 0.19 run on older ones."""

_SERVER_SIDE = "kubectl apply --server-side"
_KUBEFLOW = "https://github.com/kubeflow"
_RELEASE = "releases/download"

_KSERVE = f"{_SERVER_SIDE} -f https://github.com/kserve/kserve/{_RELEASE}/v0.21.0/kserve.yaml"
_TRAINER = f'{_SERVER_SIDE} -k "{_KUBEFLOW}/trainer.git/manifests/overlays/manager?ref=v2.3.0"'
_KFP = "\n".join(
    f'kubectl apply -k "{_KUBEFLOW}/pipelines.git/manifests/kustomize/{part}?ref=2.17.0"'
    for part in ("cluster-scoped-resources", "env/platform-agnostic")
)
_KATIB = (
    f'kubectl apply -k "{_KUBEFLOW}/katib.git/manifests/v1beta1/installs/'
    'katib-standalone?ref=v0.19.0"'
)
_GATEWAY = (
    f"{_SERVER_SIDE} -f https://github.com/kubernetes-sigs/gateway-api/"
    f"{_RELEASE}/v1.4.0/standard-install.yaml"
)

PARTS = (
    ("Pipelines", "ml-pipeline", (2, 17)),
    ("Katib", "katib-controller", (0, 19)),
    ("Trainer", "kubeflow-trainer-controller-manager", (2, 3)),
    ("KServe", "kserve-controller-manager", (0, 20)),
)
"""Controllers that we need: name, Deployment, and the oldest version that we were written for."""

_NAMESPACES = ("kubeflow", "kubeflow-system", "kserve")
"""Where their installations put them."""

_HEALTH = "/apis/v2beta1/healthz"
_TOKEN = "KFP_TOKEN"  # noqa: S105 - the name of a variable, not a secret


def check_server(api: Api) -> list[Finding]:
    """Version of the API server, and who asks; `UserError` if it is not one, or knows nobody."""
    answer = api.get("/version")
    said = str(answer.found.get("gitVersion") or "")
    version = re.match(r"v?(\d+)\.(\d+)", said)
    if not answer.good or not version:
        what = f"what answers at {api.host} is not a Kubernetes API server"
        remedy = "check the server in the kubeconfig"
        raise UserError(f"{what} ({answer.status} at /version); {remedy}")
    # `/version` is answered to everyone: this tells whether the credentials are valid.
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = api.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    if answer.status == 403 and "system:anonymous" in answer.text:
        what = f"the kubeconfig brings no credentials that the cluster at {api.host} knows"
        raise UserError(f"{what}: it takes you for system:anonymous; log in again")
    name = ((answer.found.get("status") or {}).get("userInfo") or {}).get("username")
    text = f"Kubernetes {said}" + (f", you are {name}" if name else "")
    if (int(version[1]), int(version[2])) < _OLDEST:
        needs = f"Kubeflow Trainer needs {_OLDEST[0]}.{_OLDEST[1]} or later"
        return [warning("API server", f"{text}; {needs}")]
    if not api.client.configuration.verify_ssl:
        return [warning("API server", f"{text}; the kubeconfig does not check its certificate")]
    return [passed("API server", text)]


def _kinds(
    name: str, served: str, without: str, remedy: str = "", missing: State = State.FAILED
) -> Check:
    """A row for kinds that have to be served: the version of their group, and their plurals."""
    group_version, _, plurals = served.partition(" ")

    def right(api: Api, expected: Expected, found: dict[str, Any]) -> Iterator[Finding]:
        names = {resource.get("name") for resource in found.get("resources") or []}
        lacking = ", ".join(plural for plural in plurals.split(", ") if plural not in names)
        if lacking:
            text = f"there is no {group_version} {lacking}: {without}"
            yield Finding(missing, name, text, remedy)

    return Check(name, f"/apis/{group_version}", served, right, remedy, missing, without)


def _field(name: str, group_version: str, field: str, without: Finding) -> Check:
    """A row for a field that not every version of a kind has, such as `TrainJob spec.suspend`."""
    kind, _, path = field.partition(" ")

    def right(api: Api, expected: Expected, found: dict[str, Any]) -> Iterator[Finding]:
        if not has_field(found, kind, path):
            yield replace(without, text=f"{kind} has no {path}: {without.text}")

    address, what = f"/openapi/v3/apis/{group_version}", f"schema of {group_version}"
    return Check(name, address, what, right, "", State.SKIPPED, shown=f"{kind} has {path}")


def has_field(openapi: dict[str, Any], kind: str, path: str) -> bool:
    """Whether a kind has a field, such as `spec.canary`, by its group's OpenAPI document."""
    for schema in ((openapi.get("components") or {}).get("schemas") or {}).values():
        kinds = schema.get("x-kubernetes-group-version-kind") or []
        if any(known.get("kind") == kind for known in kinds):
            for name in path.split("."):
                schema = ((schema or {}).get("properties") or {}).get(name)
            return schema is not None
    return False


def _traffic(api: Api, expected: Expected, found: dict[str, Any]) -> Iterator[Finding]:
    """Standard mode splits traffic by the Gateway API, Knative mode by Knative's revisions."""
    modes = {
        "gateway.networking.k8s.io/v1": "Gateway API, for KServe's Standard mode",
        "serving.knative.dev/v1": "Knative, for KServe's Knative mode",
    }
    there = [text for group, text in modes.items() if api.get(f"/apis/{group}").good]
    text = "there is neither the Gateway API nor Knative: a model is served, but not as a canary"
    name = "traffic splitting"
    yield passed(name, "; ".join(there)) if there else warning(name, text, _GATEWAY)


def _versions(api: Api, expected: Expected, found: dict[str, Any]) -> Iterator[Finding]:
    """What the tags of the controllers' images say, and whether their pods are ready."""
    deployments, closed = {}, []
    for namespace in dict.fromkeys((expected.kfp_namespace, *_NAMESPACES)):
        answer = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments")
        if not answer.good:
            closed.append(namespace)
        for one in answer.items:
            deployments.setdefault(one["metadata"]["name"], one)
    unseen = []
    for name, wanted, oldest in PARTS:
        if wanted in deployments:
            yield _version(f"{name} version", deployments[wanted], oldest)
        else:
            unseen.append((name, wanted))
    if unseen:
        names, wanted = (", ".join(words) for words in zip(*unseen, strict=True))
        none = f"none of the Deployments {wanted} is in {', '.join(_NAMESPACES)}"
        where = f"you may not list Deployments in {', '.join(closed)}" if closed else none
        yield skipped("versions", f"{names}: {where}")


def _version(name: str, deployment: dict[str, Any], oldest: tuple[int, int]) -> Finding:
    metadata, needed = deployment["metadata"], ".".join(map(str, oldest))
    where = f"{metadata['name']} in namespace {metadata['namespace']}"
    if not (deployment.get("status") or {}).get("availableReplicas"):
        remedy = f"kubectl -n {metadata['namespace']} describe deployment {metadata['name']}"
        return failed(name, f"{where} has no ready pod", remedy)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    tag = re.search(r":v?(\d+)\.(\d+)[^@/]*$", image.partition("@")[0])
    if not tag:
        return skipped(name, f"{image} says no version; {needed} or later is needed")
    version = tag[0].lstrip(":v")
    if (int(tag[1]), int(tag[2])) < oldest:
        return warning(name, f"{version} ({where}); written for {needed} or later")
    return passed(name, f"{version}, {where}")


def _pipelines(api: Api, expected: Expected, found: dict[str, Any]) -> list[Finding]:
    """Ask for its health where `make submit` would send a run: there, or through the API server."""
    import httpx

    name, namespace = "Pipelines API", expected.kfp_namespace
    forward = f"kubectl -n {namespace} port-forward service/ml-pipeline 8888"
    if expected.kfp_endpoint:
        where, token = expected.kfp_endpoint.rstrip("/"), os.environ.get(_TOKEN)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            said = httpx.get(where + _HEALTH, timeout=5, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            text = f"{where} cannot be reached ({type(error).__name__}); if it is forwarded, start"
            return [failed(name, f"{text} the forwarding", forward)]
        health, text = status_of(said.text), f"{where} answers"
        if said.is_redirect or said.status_code in (401, 403):
            text = f"{where} asks for a login ({said.status_code}), which submitting needs too"
            create = "kubectl create token <account> --audience pipelines.kubeflow.org"
            return [failed(name, text, f"export {_TOKEN}=$({create})")]
        if said.status_code != 200 or not health:
            text += f" {said.status_code}, and not as Kubeflow Pipelines"
            return [failed(name, text, f"curl {where}{_HEALTH}")]
    else:
        where = f"service ml-pipeline in namespace {namespace}"
        proxy = f"/api/v1/namespaces/{namespace}/services/ml-pipeline:http/proxy"
        answer = api.get(proxy + _HEALTH)
        health, text = answer.found, f"{where} answers through the API server"
        if answer.status == 404:
            text = f"there is no {where}; install Kubeflow Pipelines, or say where it answers"
            return [failed(name, text, "make preflight KFP_ENDPOINT=https://…")]
        if not answer.good:
            text = f"you may not reach the {where} through the API server ({answer.status})"
            remedy = f"{forward}\nmake preflight KFP_ENDPOINT=http://localhost:8888"
            return [skipped(name, text, remedy)]
    return [_health(api, text, health, namespace)]


def _health(api: Api, text: str, health: dict[str, Any], namespace: str) -> Finding:
    """What the answer says of itself, and whether runs go to the namespace that is checked.

    Standalone, all runs are in the namespace of Kubeflow Pipelines; for several users, none is.
    """
    name, several = "Pipelines API", health.get("multi_user")
    said = (health.get("apiServerTagName"), "multi-user" if several else "")
    text += f" ({', '.join(word for word in said if word)})" if any(said) else ""
    if health.get("apiServerReady") is False:
        # The dashboard's server answers for the one behind it, whether that is up or not.
        logs = f"kubectl -n {namespace} logs deployment/ml-pipeline --tail 20"
        return failed(name, f"{text}, but the API server of Pipelines behind it does not", logs)
    if several and api.namespace == namespace:
        text += f"; runs go to a profile's namespace, not to {namespace}"
        return failed(name, text, "make preflight NAMESPACE=…   # of your profile")
    if several is False and api.namespace != namespace:
        text += f", for one user: all runs go to namespace {namespace}, not to {api.namespace}"
        return failed(name, text, f"make preflight NAMESPACE={namespace}")
    return passed(name, text)


_TRAINING, _SERVING = "trainer.kubeflow.org/v1alpha1", "serving.kserve.io/v1beta1"
_OLD_TRAINER = failed("Kubeflow Trainer", "it is older than 2.2; update it", _TRAINER)
_NO_CANARY = "canaries work in Knative mode only; for Standard mode update it"
_OLD_KSERVE = warning("KServe", _NO_CANARY, _KSERVE)
_ARGO = "argoproj.io/v1alpha1 workflows, workflowtaskresults"
_ON_NODES = "no training on several GPUs or nodes"
_RUNTIMES = "serving.kserve.io/v1alpha1 servingruntimes"
_FEAST, _NO_FEAST = "feast.dev/v1 featurestores", "the feature store works without it"

CLUSTER: tuple[Check, ...] = (
    _kinds("Argo Workflows", _ARGO, "no pipeline runs", _KFP),
    _kinds("Katib", "kubeflow.org/v1beta1 experiments, trials", "no tuning in Katib", _KATIB),
    _kinds("Kubeflow Trainer", f"{_TRAINING} trainjobs, trainingruntimes", _ON_NODES, _TRAINER),
    _field("Kubeflow Trainer", _TRAINING, "TrainJob spec.runtimePatches", _OLD_TRAINER),
    _kinds("KServe", f"{_SERVING} inferenceservices", "no rollout", _KSERVE),
    _field("KServe", _SERVING, "InferenceService spec.canary", _OLD_KSERVE),
    _kinds("KServe runtimes", _RUNTIMES, "no model server of ours", _KSERVE),
    _kinds("Feast operator", _FEAST, _NO_FEAST, missing=State.PASSED),
    Check("traffic splitting", "", "", _traffic),
    Check("versions", "", "", _versions),
    Check("Pipelines API", "", "", _pipelines),
)
"""The rows of the group Kubeflow."""
