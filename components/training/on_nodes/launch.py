"""Fine-tuning on several nodes or GPUs as a pipeline's step: launch a TrainJob, take its model.

Everything goes by the name of the TrainJob, which follows from the run: a step that was killed and
starts again finds its TrainJob or its model, and a TrainJob that failed is launched again and goes
on from the checkpoints of the one before.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import condition, permissions, run_to_end
from components.shared.kubernetes.namespace_objects import TRAINING_RUNTIME
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import own_run
from components.shared.kubernetes.shared_folder import (
    CHECKPOINTS,
    FACTS,
    MODEL,
    TRAINING_SET,
    SharedFolder,
)
from components.shared.machine.errors import UserError
from components.training.on_nodes.train_job import (
    NODE,
    PODS,
    TRAIN_JOBS,
    TRAINING_RUNTIMES,
    check_scale,
    train_job,
    train_job_spec,
    training_arguments,
)

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

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

_FIRST_POD = "batch.kubernetes.io/job-completion-index=0"
"""Label of the pod of rank 0, which alone prints metrics."""

_TAIL_LINES = 200
"""More than a training prints in the half minute between two looks."""

_TIMEOUT = (5.0, 30.0)

# Kubernetes' time of the line, the training's own, which an evaluation's metrics share; the metric.
_METRIC = re.compile(r"(?P<time>\S+) (?P<evaluation>\d\S+Z) (?P<metric>\w+=[\d.]+)")

logger = logging.getLogger(__name__)


def fine_tune_on_nodes(
    training_set: str | Path,
    base_model: str,
    options: Mapping[str, Any],
    model_folder: str | Path,
    facts: Mapping[str, Any],
    *,
    nodes: int,
    gpus_per_node: int,
    deadline_minutes: float = DEADLINE_MINUTES,
) -> None:
    """Fine-tune in a TrainJob, wait for it so many minutes at most, and take over its model.

    The arguments are those of `fine_tune_at_scale`, with all options by name, and `max_tokens`
    among the facts.

    Raises:
        UserError: If the scale is wrong; if this step has no shared volume, is
            not in a pipeline's run, or the namespace has no TrainingRuntime; if the cluster
            refuses; if training fails or does not end in time.
    """
    check_scale(nodes, gpus_per_node)
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
    folder.put(training_set, facts)
    for gone in folder.remove_forgotten(NAMES):
        logger.info("removed the folder of %s, which nobody has retried", gone)
    if not folder.holds_model_of(base_model, options, facts):
        _train(jobs, train_job(name, spec, run.owner), folder, deadline_minutes * 60)
    folder.take_model(model_folder)
    # In this order: as long as the model is there, a step that is killed here takes it again. In
    # the foreground: else a TrainJob of the same name might find the JobSet of this one, and its
    # end.
    jobs.delete(name, foreground=True)
    folder.remove()


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
    reported = ""

    def report(job: dict[str, Any]) -> None:
        nonlocal reported
        state = describe(job)
        if state != reported:
            reported = state
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
            on_change=report,
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


@dataclass
class MetricLines:
    """The metrics of one TrainJob, each reported once, also across pods that replace each other.

    Attributes:
        client: Client of the cluster's API.
        namespace: Namespace of the TrainJob.
        name: Name of the TrainJob.
        last: Time of the last line that was reported, as the cluster writes it.
    """

    client: "ApiClient"
    namespace: str
    name: str
    last: str = ""

    def new(self) -> list[str]:
        """What was printed since the last call, a line for each evaluation.

        Where the pod has not begun, is gone, or its log cannot be read, there is nothing new.
        """
        from kubernetes.client import CoreV1Api
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        core = CoreV1Api(self.client)
        try:
            pods = core.list_namespaced_pod(
                self.namespace,
                label_selector=f"{PODS.format(name=self.name)},{_FIRST_POD}",
                _request_timeout=_TIMEOUT,
            ).items
            begun = [pod for pod in pods if pod.status and pod.status.phase != "Pending"]
            logs = [
                core.read_namespaced_pod_log(
                    pod.metadata.name,
                    self.namespace,
                    container=NODE,
                    timestamps=True,
                    tail_lines=_TAIL_LINES,
                    _request_timeout=_TIMEOUT,
                )
                for pod in begun
            ]
        except (ApiException, HTTPError, OSError):
            return []
        return self._evaluations(logs)

    def _evaluations(self, logs: list[str]) -> list[str]:
        """The lines that were not reported before, those of one evaluation joined."""
        lines = [line for log in logs for line in log.splitlines()]
        metrics = [match for match in map(_METRIC.fullmatch, lines) if match]
        evaluations: dict[str, list[str]] = {}
        for match in sorted(metrics, key=lambda match: match["time"]):
            if match["time"] > self.last:
                evaluations.setdefault(match["evaluation"], []).append(match["metric"])
        self.last = max([self.last, *(match["time"] for match in metrics)])
        return [" ".join(evaluation) for evaluation in evaluations.values()]
