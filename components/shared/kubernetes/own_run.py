"""The pipeline run that this process is a step of, as its own pod names it."""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.refusals import Request, Resource
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {("", "pods"): ("get",)}
"""Verbs that `own_run` needs, by API group and resource."""

_PODS = Resource("", "v1", "pods", "Pod")
_RUN_LABEL = "pipeline/runid"
_REMEDY = "run it as a step of a pipeline on Kubeflow"


@dataclass(frozen=True)
class OwnRun:
    """The run that a step belongs to: KFP's id, which stays when the run or a step is retried.

    What carries `owner`, the ownerReference to the run's Argo Workflow, is deleted with it.
    """

    run_id: str
    owner: dict[str, Any] = field(default_factory=dict)


def own_run(
    client: "ApiClient", namespace: str, *, retry_policy: RetryPolicy | None = None
) -> OwnRun:
    """Read the run's id and its Workflow off the step's own pod in this namespace.

    KFP labels each pod of a run with `pipeline/runid`, and Argo makes the Workflow the owner of
    its pods. The pod's name is `$KFP_POD_NAME`, which KFP sets because a host name is cut after 63
    characters and a pod's name is not; `$HOSTNAME` where it is missing.

    Raises:
        UserError: If the process is not a step of a run, or the pod may not be read.
    """
    from kubernetes.client import CoreV1Api

    name = os.environ.get("KFP_POD_NAME") or os.environ.get("HOSTNAME", "")
    if not name:
        raise UserError(f"this process runs in no pod; {_REMEDY}")
    pod = (retry_policy or RetryPolicy()).call(
        lambda: CoreV1Api(client).read_namespaced_pod(name, namespace, _request_timeout=(5, 30)),
        Request("get", _PODS, namespace, name, client.configuration.host),
    )
    run_id = (pod.metadata.labels or {}).get(_RUN_LABEL, "")
    owners = [o for o in pod.metadata.owner_references or [] if o.kind == "Workflow"]
    if not run_id or not owners:
        why = f"pod {name} has no label {_RUN_LABEL} or no Workflow that owns it"
        raise UserError(f"{why}; {_REMEDY}")
    owner = owners[0]
    reference = {"apiVersion": owner.api_version, "kind": owner.kind}
    return OwnRun(run_id, {**reference, "name": owner.name, "uid": owner.uid})
