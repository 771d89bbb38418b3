"""The search in Katib: launch the Experiment, report on its trials, take over their results."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import permissions, run_to_end
from components.shared.kubernetes.namespace_objects import PART_OF
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import own_run
from components.shared.kubernetes.refusals import Conflict, Request, Resource
from components.shared.kubernetes.retries import RetryPolicy
from components.shared.kubernetes.shared_folder import TRAINING_SET, SharedFolder
from components.shared.machine.errors import UserError
from components.training.loop.data import read_training_set
from components.training.tuning.experiment import Trial, read_experiment, read_search_space
from components.training.tuning.katib_experiment import (
    EXPERIMENTS,
    TrialSettings,
    experiment_manifest,
)
from components.training.tuning.katib_progress import PODS, FollowedSearch

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    **permissions(EXPERIMENTS),
    ("kubeflow.org", "trials"): ("list",),
    ("", "namespaces"): ("get",),
    # get: of the step's own pod.
    ("", "pods"): ("get", "list"),
}
"""Verbs that a search needs, by API group and resource."""

NAMES = "review-sentiment-tune-"
"""How the names of the Experiments begin; the first eight characters of the run follow."""

DEADLINE_MINUTES = 1410
"""A step may take a day; this leaves it time to say why a search did not end."""

_REMEDY = (
    "let what Katib adds have a security context: injectSecurityContext, and securityContext of "
    "the suggestion, in its ConfigMap katib-config"
)
"""Where the namespace refuses a trial's pod, which satisfies it but for Katib's own containers."""

_INJECTED = "katib.kubeflow.org/metrics-collector-injection"
_ENFORCED = "pod-security.kubernetes.io/enforce"
_FILLED_IN = f"{PART_OF}/pod-security-defaults"
"""Set by `manifests/components/pod-security-defaults`, which fills in missing security contexts."""

_NAMESPACES = Resource("", "v1", "namespaces", "Namespace")

logger = logging.getLogger(__name__)


def katib_search(
    training_set: str | Path,
    base_model: str,
    options: Mapping[str, Any],
    experiment: str | Path,
    trials: int,
    *,
    nodes: int = 1,
    gpus_per_node: int = 1,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> list[Trial]:
    """Search in Katib; the same call after a kill takes up the search where it is.

    The Experiment stays, for Katib's pages, until the run's Workflow goes. What goes wrong, or
    comes to an end before its time, leaves nothing behind.

    Returns:
        The trials, in the order in which they were made; at least one finished.

    Raises:
        UserError: If the manifest, an option or the scale is wrong; if this step has no shared
            volume or is not in a pipeline's run; if the cluster or Katib's webhook refuses; if no
            trial begins in time, too many fail, or the search does not end in time.
    """
    space = read_search_space(experiment)
    read_training_set(training_set)  # what is wrong with it is said before any GPU is asked for
    client, namespace = connect()
    run = own_run(client, namespace)
    name = NAMES + run.run_id[:8]
    folder = SharedFolder.of(name)
    try:
        manifest = experiment_manifest(
            read_experiment(experiment),
            name,
            run.owner,
            TrialSettings(
                trials,
                f"{folder.in_pods}/{TRAINING_SET}",
                base_model,
                options,
                nodes,
                gpus_per_node,
            ),
            early_stopping=admits_early_stopping(client, namespace),
        )
        experiments = Objects(client, namespace, EXPERIMENTS, pods=PODS)
        with suppress(Conflict):  # it is there already: this step was killed and starts again
            experiments.dry_run(manifest)
        folder.put(training_set, facts={})
        logger.info("searching in Experiment %s of namespace %s", name, namespace)
        search = FollowedSearch(experiments, name, space, trials)
        run_to_end(
            experiments,
            manifest,
            search.outcome,
            deadline_seconds=deadline_minutes * 60,
            on_change=search.report,
            keep=True,
        )
    except UserError as error:
        if "violates PodSecurity" not in str(error):
            raise
        raise UserError(f"{error}; {_REMEDY}") from None
    finally:
        folder.remove()
    return list(search.table.values())


def admits_early_stopping(client: "ApiClient", namespace: str) -> bool:
    """Check that Katib may collect metrics in the namespace; say whether it may stop trials early.

    Its service for early stopping is a container without a security context, which Katib 0.19
    gives no means to set: Pod Security `restricted` would refuse the pod of the search algorithm,
    and no trial would begin, unless an admission policy fills it in.

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
            f"namespace {namespace} lacks the label {_INJECTED}, without which Katib reads no "
            f"metrics of a trial; set it: kubectl label namespace {namespace} {_INJECTED}=enabled"
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
