"""Whether what operators put into a namespace passes its Pod Security `restricted`.

Our own pods do. Katib gives the containers that it adds a security context only where its
configuration says so, and KServe its storage initializer likewise; the namespace then refuses their
pods, and a search or a model server waits for them without end.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from components.preflight.api import Answer, Api, unread
from components.preflight.finding import Finding, failed, ok, warning

_FILLED_IN = "review-sentiment/pod-security-defaults"
"""Label of namespaces in which the component `pod-security-defaults` fills in what is missing."""

_HOW = "manifests/README.md, Pod Security"
_KATIB, _KSERVE = "Katib, restricted", "KServe, restricted"


def check_restricted(api: Api, labels: Mapping[str, str]) -> list[Finding]:
    """Look into the operators' configuration.

    Args:
        api: The cluster.
        labels: Of the namespace, which enforces `restricted`.
    """
    if labels.get(_FILLED_IN) == "enabled":
        return [ok("operators, restricted", "our admission policy fills in what they leave open")]
    config = api.get("/api/v1/namespaces/kubeflow/configmaps/katib-config")
    initializer = api.get("/apis/serving.kserve.io/v1alpha1/clusterstoragecontainers/default")
    return [*_katib(config), *_kserve(initializer)]


def _katib(answer: Answer) -> Iterator[Finding]:
    if answer.status == 404:
        return  # without Katib, its kinds are told as missing
    if not answer.good:
        yield unread(_KATIB, "ConfigMap katib-config in namespace kubeflow", answer)
        return
    lacking = katib_lacks(answer.found.get("data") or {})
    if lacking:
        told = f"Pod Security refuses what Katib adds to trials: katib-config lacks {lacking}"
        edit = f"kubectl -n kubeflow edit configmap katib-config   # {_HOW}"
        yield failed(_KATIB, told, edit)
    else:
        yield ok(_KATIB, "it gives the containers that it adds a security context")


def katib_lacks(data: Mapping[str, str]) -> str:
    """What Katib's configuration lacks for namespaces that enforce `restricted`; empty if nothing.

    Args:
        data: Of its ConfigMap.
    """
    import yaml

    config = yaml.safe_load(data.get("katib-config.yaml", "")) or {}
    controller = (config.get("init") or {}).get("controller") or {}
    suggestions = (config.get("runtime") or {}).get("suggestions") or []
    secured = any(
        one.get("algorithmName") == "random" and _secured(one.get("securityContext"))
        for one in suggestions
    )
    lacking = [
        *([] if controller.get("injectSecurityContext") is True else ["injectSecurityContext"]),
        *([] if secured else ["a securityContext of the suggestion random"]),
    ]
    return " and ".join(lacking)


def _kserve(answer: Answer) -> Iterator[Finding]:
    if answer.status == 404:
        return
    if not answer.good:
        yield unread(_KSERVE, "ClusterStorageContainer default", answer)
    elif _secured(((answer.found.get("spec") or {}).get("container") or {}).get("securityContext")):
        yield ok(_KSERVE, "its storage initializer has a security context")
    else:
        told = "its storage initializer has no security context: Pod Security refuses the pods"
        edit = f"kubectl edit clusterstoragecontainer default   # {_HOW}"
        yield warning(_KSERVE, f"{told} of models that it fetches", edit)


def _secured(context: Any) -> bool:
    return bool(context) and context.get("allowPrivilegeEscalation") is False
