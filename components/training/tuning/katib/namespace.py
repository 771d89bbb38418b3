"""What the namespace lets Katib do, by its labels."""

import logging
from typing import TYPE_CHECKING

from components.shared.kubernetes.namespace_objects import PART_OF
from components.shared.kubernetes.refusals import Request, Resource
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.machine.errors import UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_INJECTED = "katib.kubeflow.org/metrics-collector-injection"
_ENFORCED = "pod-security.kubernetes.io/enforce"
_FILLED_IN = f"{PART_OF}/pod-security-defaults"
"""Set by `manifests/components/pod-security-defaults`, which fills in missing security contexts."""

_NAMESPACES = Resource("", "v1", "namespaces", "Namespace")

logger = logging.getLogger(__name__)


def admits_early_stopping(client: "ApiClient", namespace: str) -> bool:
    """Check that Katib may collect metrics in the namespace; tell whether it may stop trials early.

    Its service for early stopping is a container without a security context, which Katib 0.19
    gives no means to set: Pod Security `restricted` would refuse the pod of the search algorithm,
    and no trial would begin, unless an admission policy fills it in.

    Args:
        client: Of the cluster's API.
        namespace: Of the search.

    Returns:
        Whether a search there may stop trials early; False where the namespace may not be read.

    Raises:
        UserError: If the namespace is not labelled for the collector.
    """
    from kubernetes.client import CoreV1Api

    try:
        found = RetryPolicy().call(
            lambda: CoreV1Api(client).read_namespace(namespace, _request_timeout=(5.0, 30.0)),
            Request("get", _NAMESPACES, namespace, namespace, client.configuration.host),
        )
    except UserError as error:
        logger.warning("trials run to their end, none is stopped early: %s", error)
        return False
    labels = found.metadata.labels or {}
    if labels.get(_INJECTED) != "enabled":
        raise UserError(
            f"namespace {namespace} lacks the label {_INJECTED}, without which Katib learns "
            f"nothing of a trial; set it: kubectl label namespace {namespace} {_INJECTED}=enabled"
        )
    if labels.get(_ENFORCED) != "restricted" or labels.get(_FILLED_IN) == "enabled":
        return True
    logger.info(
        "trials run to their end, none is stopped early: namespace %s admits restricted pods only, "
        "which those of Katib's early stopping are not; the manifests' component "
        "pod-security-defaults makes them so",
        namespace,
    )
    return False
