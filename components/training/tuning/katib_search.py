"""The search in Katib: launch the Experiment, tell of its trials, take over what they found."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import permissions, run_to_end
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import own_run
from components.shared.machine.errors import UserError
from components.training.loop.data import read_training_set
from components.training.on_nodes.shared_folder import TRAINING_SET, SharedFolder
from components.training.tuning.experiment import read_search_space
from components.training.tuning.katib.experiment import EXPERIMENTS, PODS, experiment_manifest
from components.training.tuning.katib.namespace import admits_early_stopping
from components.training.tuning.katib.rules import check_experiment
from components.training.tuning.katib_progress import FollowedSearch
from components.training.tuning.trials import Trial, log_to_mlflow

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

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from: `minilm`, a folder in the trials' pods, or a hub
            id.
        options: All training options by name; a trial's draws replace those of the same name.
        experiment: Katib Experiment manifest.
        trials: How many to run.
        nodes: Pods that train together in a trial.
        gpus_per_node: Of each; 0 trains on the CPU.
        deadline_minutes: How long the search may take.

    Returns:
        The trials, in the order in which they were made; at least one finished.

    Raises:
        UserError: If the manifest, an option or the scale is wrong; if this step has no shared
            volume or is in no pipeline's run; if the cluster refuses; if no trial begins in time,
            too many fail, or the search does not end in time.
    """
    space = read_search_space(experiment)
    # What is wrong with the data is said here, before any GPU is asked for.
    read_training_set(training_set)
    client, namespace = connect()
    run = own_run(client, namespace)
    name = NAMES + run.run_id[:8]
    folder = SharedFolder.of(name)
    try:
        manifest = experiment_manifest(
            experiment,
            name,
            run.owner,
            training_set=f"{folder.in_pods}/{TRAINING_SET}",
            base_model=base_model,
            options=options,
            trials=trials,
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            early_stopping=admits_early_stopping(client, namespace),
        )
        check_experiment(manifest)
        folder.put(training_set, facts={})
        experiments = Objects(client, namespace, EXPERIMENTS, pods=PODS)
        logger.info("searching in Experiment %s of namespace %s", name, namespace)
        search = FollowedSearch(experiments, name, space, trials)
        run_to_end(
            experiments,
            manifest,
            search.outcome,
            deadline_seconds=deadline_minutes * 60,
            on_change=search.tell,
            keep=True,
        )
    except UserError as error:
        if "violates PodSecurity" not in str(error):
            raise
        raise UserError(f"{error}; {_REMEDY}") from None
    finally:
        folder.remove()
    table = list(search.table.values())
    for trial in table:
        log_to_mlflow(trial, base_model)
    return table
