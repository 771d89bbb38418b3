"""Fine-tuning on several nodes or GPUs as a pipeline's step: launch a TrainJob and take its model.

Everything goes by the name of the TrainJob, which follows from the run: a step that was killed and
starts again finds its TrainJob or its model, and a TrainJob that failed is launched again and goes
on from the checkpoints of the one before.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import condition, permissions, run_to_end
from components.shared.kubernetes.namespace_objects import TRAINING_RUNTIME
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import own_run
from components.shared.machine.errors import UserError
from components.training.on_nodes.log import MetricLines
from components.training.on_nodes.shared_folder import (
    CHECKPOINTS,
    FACTS,
    MODEL,
    TRAINING_SET,
    SharedFolder,
)
from components.training.on_nodes.train_job import (
    PODS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    check_scale,
    train_job,
    train_job_spec,
    training_arguments,
)

if TYPE_CHECKING:
    from components.training.fine_tune import TrainingResult

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    **permissions(TRAIN_JOBS),
    ("trainer.kubeflow.org", "trainingruntimes"): ("get",),
    # get: of the step's own pod.
    ("", "pods"): ("get", "list"),
}
"""Verbs that this step needs, by API group and resource."""

NAMES = "review-sentiment-train-"
"""How the names of the TrainJobs begin; the first eight characters of the run follow."""

DEADLINE_MINUTES = 23 * 60
"""A step that launches may take a day; this leaves it time to say why a training did not end."""

_TO_EXPLAIN_SECONDS = 1800
"""How much later than this step Trainer gives up, which deletes the pods and their logs: it is
there for where this step is gone."""

logger = logging.getLogger(__name__)


def fine_tune_on_nodes(
    training_set: str | Path,
    base_model: str,
    hyperparameters: Mapping[str, Any],
    model_folder: str | Path,
    facts: Mapping[str, str],
    max_tokens: int,
    *,
    nodes: int,
    gpus_per_node: int,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> "TrainingResult":
    """Fine-tune in a TrainJob, wait for it, and take over its model.

    Args:
        training_set: Training set Parquet.
        base_model: What fine-tuning starts from: `minilm`, a folder in the pods, or a hub id.
        hyperparameters: Training options by name.
        model_folder: Folder to write.
        facts: Lineage for the model folder.
        max_tokens: Where the features were cut, so that the predictor cuts there too.
        nodes: Pods that train together, at least 1.
        gpus_per_node: Of each; 0 trains on the CPU.
        deadline_minutes: How long to wait for the TrainJob.

    Returns:
        What fine-tuning found.

    Raises:
        UserError: If an option, the training set or the scale is wrong; if this step has no shared
            volume, is in no pipeline's run, or the namespace has no TrainingRuntime; if the cluster
            refuses; if training fails or does not end in time.
    """
    from components.training.loop.data import read_training_set
    from components.training.options import TrainingOptions

    options = TrainingOptions.from_dict(dict(hyperparameters)).to_dict()
    kept = {**facts, "max_tokens": max_tokens}
    check_scale(nodes, gpus_per_node)
    # What is wrong with the data is said here, before any GPU is asked for.
    read_training_set(training_set)
    client, namespace = connect()
    run = own_run(client, namespace)
    name = NAMES + run.run_id[:8]
    jobs = Objects(client, namespace, TRAIN_JOBS, pods=PODS)
    _check_runtime(replace(jobs, resource=TRAINING_RUNTIMES))
    folder = SharedFolder.of(name)
    spec = train_job_spec(
        training_arguments(
            f"{folder.in_pods}/{TRAINING_SET}",
            base_model,
            f"{folder.in_pods}/{MODEL}",
            options,
            checkpoints=f"{folder.in_pods}/{CHECKPOINTS}",
            facts_file=f"{folder.in_pods}/{FACTS}",
        ),
        nodes,
        gpus_per_node,
        deadline_seconds=int(deadline_minutes * 60) + _TO_EXPLAIN_SECONDS,
    )
    folder.put(training_set, kept)
    for gone in folder.remove_forgotten(NAMES):
        logger.info("removed the folder of %s, which nobody has retried", gone)
    if not folder.holds_model_of(base_model, options, kept):
        _train(jobs, train_job(name, spec, run.owner), folder, deadline_minutes * 60)
    made = folder.take_model(model_folder)
    # In this order: as long as the model is there, a step that is killed here takes it again. In
    # the foreground, lest a TrainJob of the same name find the JobSet of this one, and its end.
    jobs.delete(name, foreground=True)
    folder.remove()
    return _result(model_folder, made)


def _check_runtime(runtimes: Objects) -> None:
    """Raise `UserError` if the namespace lacks the TrainingRuntime."""
    if runtimes.read(TRAINING_RUNTIME) is None:
        raise UserError(
            f"namespace {runtimes.namespace} has no TrainingRuntime {TRAINING_RUNTIME}; create it: "
            f"kubectl apply -n {runtimes.namespace} -k manifests/base/training"
        )


def _train(
    jobs: Objects, manifest: dict[str, Any], folder: SharedFolder, deadline_seconds: float
) -> None:
    """Launch or adopt a TrainJob and wait until its model lies in the shared folder."""
    name = manifest["metadata"]["name"]
    logger.info(
        "launching TrainJob %s; follow it with: kubectl logs -n %s -f -l %s",
        *(name, jobs.namespace, PODS.format(name=name)),
    )
    told: list[str] = []

    def tell(job: dict[str, Any]) -> None:
        state = describe(job)
        if told[-1:] != [state]:
            told.append(state)
            logger.info("TrainJob %s: %s", name, state)

    metrics = MetricLines(jobs.client, jobs.namespace, name)

    def look(job: dict[str, Any]) -> bool | None:
        for evaluation in metrics.new():
            logger.info("TrainJob %s: %s", name, evaluation)
        return outcome(job)

    try:
        run_to_end(
            jobs,
            manifest,
            # Asked at least twice a minute, also where nothing has changed.
            look,
            deadline_seconds=deadline_seconds,
            on_change=tell,
            # It is deleted with its folder, when the model has been taken.
            keep=True,
        )
    except BaseException as error:
        if folder.give_up() or not isinstance(error, UserError):
            raise
        raise UserError(
            f"{error}; what it has learned stays in {folder.path}, a retry of the run goes on there"
        ) from None
    if not folder.holds_model():
        jobs.delete(name, foreground=True)
        folder.give_up()
        raise UserError(
            f"TrainJob {name} ended without a model in {folder.model}; see that TrainingRuntime "
            f"{TRAINING_RUNTIME} mounts the same claim as this step, and retry the run"
        )


def outcome(job: dict[str, Any]) -> bool | None:
    """Whether a TrainJob ended well; None while it has not ended."""
    if condition(job, "Complete"):
        return True
    return False if condition(job, "Failed") else None


def describe(job: dict[str, Any]) -> str:
    """How a TrainJob stands, in a few words."""
    ended = outcome(job)
    if ended is not None:
        return "complete" if ended else "failed"
    if condition(job, "Suspended"):
        return "suspended; whatever queues it has not let it begin"
    if any(job.get("ready") for job in (job.get("status") or {}).get("jobsStatus") or []):
        return "training, all its pods run"
    return "waiting for its pods to run"


def _result(model_folder: str | Path, made: Mapping[str, Any]) -> "TrainingResult":
    """The result as the process that trained had it."""
    from components.training.fine_tune import TrainingResult

    best = made["best"]
    return TrainingResult(
        model_folder=Path(model_folder),
        macro_f1=best["macro_f1"],
        accuracy=best["accuracy"],
        validation_loss=best["validation_loss"],
        step=int(best["step"]),
        history=made["history"],
        speed=made["speed"],
        resumed_at=made["resumed_at"],
    )
