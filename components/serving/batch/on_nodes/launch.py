"""Batch scoring on several nodes as a pipeline's step: launch a RayJob, take its predictions.

Everything goes by the name of the RayJob, which follows from the run: a step that was killed and
starts again finds its RayJob or its predictions, and one that failed is launched again and goes on
with the shards that are left.
"""

import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.serving.batch.job import SUMMARY, Job, is_done
from components.serving.batch.on_nodes.ray_job import PODS, RAY_JOBS, last_words, ray_job
from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import permissions, run_to_end
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.own_run import own_run
from components.shared.kubernetes.shared_folder import SharedFolder
from components.shared.machine.errors import UserError
from components.shared.machine.files import replaced_when_whole, sha256_of_file
from components.shared.records.file_list import folder_digest

PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    **permissions(RAY_JOBS),
    # get: of the step's own pod.
    ("", "pods"): ("get", "list"),
}
"""Verbs that this step needs, by API group and resource."""

NAMES = "review-sentiment-batch-"
"""How the names of the RayJobs begin; the first eight characters of the run follow."""

DEADLINE_MINUTES = 23 * 60
"""A step that launches may take a day; this leaves it time to say why a scoring did not end."""

_TO_EXPLAIN_SECONDS = 1800
_REVIEWS, _MODEL, _PREDICTIONS = "reviews.parquet", "model", "predictions"
_REPORT_SECONDS = 60.0

logger = logging.getLogger(__name__)


def score_on_nodes(
    reviews: Path,
    model_folder: Path,
    predictions: Path,
    *,
    model_name: str,
    model_version: str,
    engine: str,
    nodes: int,
) -> None:
    """Score in a RayJob on so many nodes, wait for it, and take over its folder of predictions.

    The arguments are those of `score_reviews`; `predictions` gets the whole folder.

    Raises:
        UserError: If this step has no shared volume or is not in a pipeline's run; if the cluster
            refuses; if scoring fails or does not end in time.
    """
    job = Job.of(reviews, model_folder, model_name, model_version)
    client, namespace = connect()
    run = own_run(client, namespace)
    name = NAMES + run.run_id[:8]
    shared = SharedFolder.of(name)
    for gone in shared.remove_forgotten(NAMES):
        logger.info("removed the folder of %s, which nobody has retried", gone)
    _put(reviews, model_folder, shared.path)
    names = {"model-name": model_name, "model-version": model_version, "engine": engine}
    paths = {"reviews": _REVIEWS, "model-folder": _MODEL, "folder": _PREDICTIONS}
    manifest = ray_job(
        name,
        {key: f"{shared.in_pods}/{path}" for key, path in paths.items()} | names,
        nodes,
        run.owner,
        deadline_seconds=DEADLINE_MINUTES * 60 + _TO_EXPLAIN_SECONDS,
    )
    jobs = Objects(client, namespace, RAY_JOBS, pods=PODS)
    made = shared.path / _PREDICTIONS
    if not (made / SUMMARY).is_file():
        _score(jobs, manifest, Progress(name, made, job))
    if not (made / SUMMARY).is_file():
        raise UserError(
            f"RayJob {name} ended without predictions in {made}; see that its pods mount the same "
            "claim as this step, and retry the run"
        )
    with replaced_when_whole(predictions) as draft:
        shutil.copytree(made, draft)
    # In this order: as long as the predictions are there, a step that is killed here takes them
    # again. In the foreground: a RayJob of the same name would meet the cluster of this one.
    jobs.delete(name, foreground=True)
    shared.remove()


def _put(reviews: Path, model_folder: Path, folder: Path) -> None:
    """Copy what the pods read, unless it is there."""
    kept = folder / _REVIEWS
    if not (kept.is_file() and sha256_of_file(kept) == sha256_of_file(reviews)):
        with replaced_when_whole(kept) as draft:
            shutil.copyfile(reviews, draft)
    model = folder / _MODEL
    if not (model.is_dir() and folder_digest(model) == folder_digest(model_folder)):
        with replaced_when_whole(model) as draft:
            shutil.copytree(model_folder, draft)


def _score(jobs: Objects, manifest: dict[str, Any], progress: "Progress") -> None:
    """Launch or adopt the RayJob and wait for its end."""
    name = manifest["metadata"]["name"]
    logger.info(
        "launching RayJob %s; look at its pods with: kubectl get pods -n %s -l %s",
        *(name, jobs.namespace, PODS.format(name=name)),
    )

    def look(found: dict[str, Any]) -> bool | None:
        progress.look(found)
        ended = outcome(found)
        if ended is False and (said := (found.get("status") or {}).get("message")):
            raise UserError(f"RayJob {name} failed: {last_words(said)}")
        return ended

    try:
        run_to_end(
            jobs,
            manifest,
            look,
            deadline_seconds=DEADLINE_MINUTES * 60,
            # It is deleted with its folder, when the predictions have been taken.
            keep=True,
        )
    except UserError as error:
        stay = f"what is scored stays in {progress.folder}, a retry of the run goes on there"
        raise UserError(f"{error}; {stay}") from None


def outcome(job: dict[str, Any]) -> bool | None:
    """Whether a RayJob ended well; None while it has not ended."""
    status = job.get("status") or {}
    ended = status.get("jobDeploymentStatus")
    if ended in ("Failed", "ValidationFailed"):
        return False
    return status.get("jobStatus") == "SUCCEEDED" if ended == "Complete" else None


@dataclass
class Progress:
    """What is logged of a RayJob while the step waits: its states, and how far it is.

    Attributes:
        name: The RayJob's.
        folder: Where its predictions come to be.
        job: What it scores.
    """

    name: str
    folder: Path
    job: Job
    _state: str = ""
    _told: float = 0.0
    _done: set[int] = field(default_factory=set)

    def look(self, found: dict[str, Any]) -> None:
        """Say what is new: the RayJob's state at once, the number of reviews once a minute."""
        status = found.get("status") or {}
        state = status.get("jobDeploymentStatus") or "waiting for KubeRay"
        if state != self._state:
            self._state = state
            logger.info("RayJob %s: %s", self.name, state)
        if time.monotonic() - self._told >= _REPORT_SECONDS:
            self._told = time.monotonic()
            rows = self.job.rows
            left = set(range(len(rows))) - self._done
            self._done |= {n for n in left if is_done(self.job.part(self.folder, n), rows[n])}
            scored = sum(rows[shard] for shard in self._done)
            logger.info("RayJob %s: %d of %d reviews are scored", self.name, scored, sum(rows))
