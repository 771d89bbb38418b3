"""Scoring as a pipeline's step: what is done outlives the step, and becomes its artifact."""

import logging
import os
import shutil
from pathlib import Path

from components.serving.batch.job import SUMMARY, Job
from components.serving.batch.on_nodes.launch import score_on_nodes
from components.serving.batch.score import Summary, score_reviews
from components.shared.kubernetes.namespace_objects import STATE_VARIABLE
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json, replaced_when_whole, surviving_folder

logger = logging.getLogger(__name__)


def score_in_step(
    reviews: str | Path,
    model_folder: str | Path,
    predictions: str | Path,
    summary: str | Path,
    *,
    model_name: str,
    model_version: str,
    engine: str,
    nodes: int,
) -> Summary:
    """Score into a folder that outlives a killed step, and hand the parts over when all are there.

    The arguments are those of `score_reviews`; `predictions` gets the folder, `summary` the JSON.
    With more than one node a RayJob scores; on one machine their number has no effect.
    """
    if nodes < 1:
        raise UserError(f"scoring on {nodes} nodes is not possible; ask for at least 1")
    given = Path(reviews), Path(model_folder)
    named = {"model_name": model_name, "model_version": model_version, "engine": engine}
    predictions = Path(predictions)
    if nodes > 1 and os.environ.get(STATE_VARIABLE):
        score_on_nodes(*given, predictions, **named, nodes=nodes)
    else:
        if nodes > 1:
            logger.info("one machine: it scores alone, whatever the number of nodes")
        job = Job.of(*given, model_name, model_version)
        kept = surviving_folder("batch", job.digest, engine)
        folder = kept or predictions.with_name(f".{predictions.name}")
        score_reviews(*given, folder, **named)
        with replaced_when_whole(predictions) as draft:
            shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(".*"))
        shutil.rmtree(folder, ignore_errors=True)
    with replaced_when_whole(summary) as draft:
        shutil.copyfile(predictions / SUMMARY, draft)
    return Summary(**read_json(summary))
