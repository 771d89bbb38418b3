"""The kinds of objects that the pipelines use: served, in our versions, with the fields we need."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.preflight.api import Api, unread
from components.preflight.finding import Finding, State, ok


@dataclass(frozen=True)
class Field:
    """A field that not every version of a kind has.

    Attributes:
        kind: As in a manifest.
        path: Names from the top, separated by dots.
        without_it: What is amiss where it is missing.
        state: How bad that is.
    """

    kind: str
    path: str
    without_it: str
    state: State


@dataclass(frozen=True)
class Kinds:
    """Kinds of one version of an API group.

    Attributes:
        brought_by: What installs them.
        group_version: As in a manifest.
        plurals: Names in the URL.
        used_for: What does not work without them.
        remedy: Command that installs them.
        without_them: How bad it is where they are missing.
        fields: What is needed of them beyond their existence.
    """

    brought_by: str
    group_version: str
    plurals: tuple[str, ...]
    used_for: str
    remedy: str = ""
    without_them: State = State.FAILED
    fields: tuple[Field, ...] = ()


_KSERVE = (
    "kubectl apply --server-side "
    "-f https://github.com/kserve/kserve/releases/download/v0.21.0/kserve.yaml"
)
_TRAINER = (
    "kubectl apply --server-side "
    '-k "https://github.com/kubeflow/trainer.git/manifests/overlays/manager?ref=v2.3.0"'
)

KINDS = (
    Kinds(
        "Argo Workflows",
        "argoproj.io/v1alpha1",
        ("workflows", "workflowtaskresults"),
        "no pipeline runs",
        'kubectl apply -k "https://github.com/kubeflow/pipelines.git/manifests/kustomize/'
        'cluster-scoped-resources?ref=2.17.0"\n'
        'kubectl apply -k "https://github.com/kubeflow/pipelines.git/manifests/kustomize/env/'
        'platform-agnostic?ref=2.17.0"',
    ),
    Kinds(
        "Katib",
        "kubeflow.org/v1beta1",
        ("experiments", "trials"),
        "no tuning in Katib",
        'kubectl apply -k "https://github.com/kubeflow/katib.git/manifests/v1beta1/installs/'
        'katib-standalone?ref=v0.19.0"',
    ),
    Kinds(
        "Kubeflow Trainer",
        "trainer.kubeflow.org/v1alpha1",
        ("trainjobs", "trainingruntimes"),
        "no training on several GPUs or nodes",
        _TRAINER,
        fields=(
            Field(
                "TrainJob",
                "spec.runtimePatches",
                f"it is older than 2.2; update it:\n{_TRAINER}",
                State.FAILED,
            ),
        ),
    ),
    Kinds(
        "KServe",
        "serving.kserve.io/v1beta1",
        ("inferenceservices",),
        "no rollout",
        _KSERVE,
        fields=(
            Field(
                "InferenceService",
                "spec.canary",
                "canaries work in Knative mode only; for Standard mode update it:\n" + _KSERVE,
                State.WARNING,
            ),
        ),
    ),
    Kinds(
        "KServe runtimes",
        "serving.kserve.io/v1alpha1",
        ("servingruntimes",),
        "no model server of ours",
        _KSERVE,
    ),
    Kinds(
        "Feast operator",
        "feast.dev/v1",
        ("featurestores",),
        "the feature store works without it",
        without_them=State.OK,
    ),
)

_GATEWAY, _KNATIVE = "gateway.networking.k8s.io/v1", "serving.knative.dev/v1"
_INSTALL_GATEWAY = (
    "kubectl apply --server-side -f https://github.com/kubernetes-sigs/gateway-api/"
    "releases/download/v1.4.0/standard-install.yaml"
)


def check_kinds(api: Api) -> list[Finding]:
    """Each group of kinds, and what carries a canary's share of the traffic."""
    return [*(finding for kinds in KINDS for finding in _check(api, kinds)), _traffic(api)]


def _check(api: Api, kinds: Kinds) -> Iterator[Finding]:
    answer = api.get(f"/apis/{kinds.group_version}")
    name = kinds.brought_by
    if answer.status not in (200, 404):
        yield unread(name, f"the kinds of {kinds.group_version}", answer)
        return
    served = {found.get("name") for found in answer.found.get("resources") or []}
    lacking = [plural for plural in kinds.plurals if plural not in served]
    if lacking:
        told = f"{kinds.group_version} {', '.join(lacking)} not served: {kinds.used_for}"
        yield Finding(name, kinds.without_them, told, kinds.remedy)
        return
    told = f"{kinds.group_version} {', '.join(kinds.plurals)}"
    if not kinds.fields:
        yield ok(name, told)
        return
    schema = api.get(f"/openapi/v3/apis/{kinds.group_version}")
    if not schema.good:
        yield unread(name, f"the fields of {kinds.group_version}", schema)
        return
    for field in kinds.fields:
        if has_field(schema.found, field.kind, field.path):
            yield ok(name, f"{told} with {field.path}")
        else:
            why, _, remedy = field.without_it.partition("\n")
            yield Finding(name, field.state, f"{field.kind} has no {field.path}: {why}", remedy)


def has_field(openapi: dict[str, Any], kind: str, path: str) -> bool:
    """Whether a kind has a field.

    Args:
        openapi: The document at `/openapi/v3/apis/<group>/<version>`.
        kind: As in a manifest.
        path: Names from the top, separated by dots.
    """
    schemas = (openapi.get("components") or {}).get("schemas") or {}
    for schema in schemas.values():
        kinds = schema.get("x-kubernetes-group-version-kind") or []
        if any(known.get("kind") == kind for known in kinds):
            for name in path.split("."):
                schema = (schema.get("properties") or {}).get(name)
                if schema is None:
                    return False
            return True
    return False


def _traffic(api: Api) -> Finding:
    """Standard mode splits traffic by the Gateway API, Knative mode by Knative's revisions."""
    name = "traffic splitting"
    gateway, knative = (api.get(f"/apis/{version}") for version in (_GATEWAY, _KNATIVE))
    modes = [
        *(["Gateway API, for KServe's Standard mode"] if gateway.good else []),
        *(["Knative, for KServe's Knative mode"] if knative.good else []),
    ]
    if modes:
        return ok(name, "; ".join(modes))
    return Finding(
        name,
        State.WARNING,
        "neither the Gateway API nor Knative is there: a model can be served, but not as a canary",
        _INSTALL_GATEWAY,
    )
